internal import Linux
internal import Ports

/// A place in one row of space-separated fields; every read moves on and says whether the row was sound.
///
/// The row is passed to each call, because a type that stores a `Span` needs lifetime annotations.
struct RowCursor {
    private var index = 0

    /// Takes the next field and compares it.
    mutating func next(in row: Span<UInt8>, equals text: StaticString) -> Bool {
        skipSpaces(row)
        let start = index
        skipField(row)
        guard index - start == text.utf8CodeUnitCount else { return false }
        return text.withUTF8Buffer { expected in
            for offset in expected.indices where expected[offset] != row[start + offset] { return false }
            return true
        }
    }

    /// Skips `count` fields; false when the row has fewer.
    mutating func skip(_ count: Int, in row: Span<UInt8>) -> Bool {
        for _ in 0..<count {
            skipSpaces(row)
            let start = index
            skipField(row)
            if index == start { return false }
        }
        return true
    }

    /// One word of 8 hex digits in the CPU's byte order for IPv4, four for IPv6.
    mutating func address(_ family: ProcNetFamily, in row: Span<UInt8>) -> IPAddress? {
        skipSpaces(row)
        switch family {
        case .v4:
            guard let word = word(row) else { return nil }
            return .v4(word)
        case .v6:
            guard let a = word(row), let b = word(row), let c = word(row), let d = word(row) else {
                return nil
            }
            return .v6(UInt64(a) << 32 | UInt64(b), UInt64(c) << 32 | UInt64(d))
        }
    }

    /// Four hex digits behind `separator`, ending the field.
    mutating func hex16(after separator: Unicode.Scalar, in row: Span<UInt8>) -> UInt16? {
        guard index < row.count, row[index] == UInt8(ascii: separator) else { return nil }
        index += 1
        guard let value = hex(row, digits: 4), atSpace(row) else { return nil }
        return UInt16(truncatingIfNeeded: value)
    }

    /// Two hex digits that are a whole field.
    mutating func hex8(in row: Span<UInt8>) -> UInt8? {
        skipSpaces(row)
        guard let value = hex(row, digits: 2), atSpace(row) else { return nil }
        return UInt8(truncatingIfNeeded: value)
    }

    /// A decimal number with more behind it: at the end of a row it may be the stump of a longer one.
    mutating func decimal(in row: Span<UInt8>) -> UInt64? {
        skipSpaces(row)
        let start = index
        var value: UInt64 = 0
        while index < row.count, row[index] != Self.space {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(row[index]) else { return nil }
            let (product, tooBig) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflow) = product.addingReportingOverflow(UInt64(row[index] - UInt8(ascii: "0")))
            if tooBig || overflow { return nil }
            value = sum
            index += 1
        }
        return index > start && atSpace(row) ? value : nil
    }

    private static var space: UInt8 { UInt8(ascii: " ") }

    private func atSpace(_ row: Span<UInt8>) -> Bool { index < row.count && row[index] == Self.space }

    private mutating func skipSpaces(_ row: Span<UInt8>) {
        while index < row.count, row[index] == Self.space { index += 1 }
    }

    private mutating func skipField(_ row: Span<UInt8>) {
        while index < row.count, row[index] != Self.space { index += 1 }
    }

    /// The address word as a number in network order: the kernel prints the raw memory as a host integer.
    private mutating func word(_ row: Span<UInt8>) -> UInt32? {
        hex(row, digits: 8).map { UInt32(bigEndian: $0) }
    }

    private mutating func hex(_ row: Span<UInt8>, digits: Int) -> UInt32? {
        guard index + digits <= row.count else { return nil }
        var value: UInt32 = 0
        for _ in 0..<digits {
            switch row[index] {
            case let byte where (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte):
                value = value << 4 | UInt32(byte - UInt8(ascii: "0"))
            case let byte where (UInt8(ascii: "A")...UInt8(ascii: "F")).contains(byte):
                value = value << 4 | UInt32(byte - UInt8(ascii: "A") + 10)
            default:
                return nil
            }
            index += 1
        }
        return value
    }
}
