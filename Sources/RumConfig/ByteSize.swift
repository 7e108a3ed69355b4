internal import Linux

/// A size in bytes, written with a binary unit: `512M`, `20G`, `1T`.
package struct ByteSize: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let bytes: UInt64

    package init(bytes: UInt64) { self.bytes = bytes }

    private static let units: [(letter: Character, shift: UInt64)] = [
        ("K", 10), ("M", 20), ("G", 30), ("T", 40),
    ]

    /// Reads a whole number and one of K, M, G and T (either case, powers of 1024); nil for anything else.
    package init?(text: some StringProtocol) {
        guard let letter = text.last?.uppercased(),
            let unit = Self.units.first(where: { "\($0.letter)" == letter }),
            text.dropLast().utf8.allSatisfy(\.isASCIIDigit), let number = UInt64(text.dropLast()),
            number <= UInt64.max >> unit.shift
        else { return nil }
        bytes = number << unit.shift
    }

    package static func < (left: ByteSize, right: ByteSize) -> Bool { left.bytes < right.bytes }

    /// With the largest unit that divides the size.
    package var description: String {
        guard bytes > 0, let unit = Self.units.last(where: { bytes % (1 << $0.shift) == 0 }) else {
            return "\(bytes)"
        }
        return "\(bytes >> unit.shift)\(unit.letter)"
    }
}
