internal import Linux

/// Tells what an unquoted value of TOML is: a number, a date or a time (toml.io/en/v1.0.0).
///
/// Swift's own number readers take more than TOML allows (`1__2`, `0x-1`, `.5`), so the form is checked first.
enum TOMLScalar {
    /// nil for what is no value of TOML; a number that does not fit into 64 bits is none either.
    static func value(_ text: String) -> TOMLNode.Value? {
        if let number = integer(text) { return .integer(number) }
        if isFloat(text) { return .other(kind: "a floating-point number") }
        if isDateOrTime(text) { return .other(kind: "a date or time") }
        return nil
    }

    // MARK: - Numbers

    private static func integer(_ text: String) -> Int? {
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where text.hasPrefix(prefix) {
            let digits = text.dropFirst(2)
            return areDigits(digits, radix: radix) ? Int(plain(digits), radix: radix) : nil
        }
        return isDecimal(unsigned(text)) ? Int(plain(text)) : nil
    }

    private static func isFloat(_ text: String) -> Bool {
        let number = unsigned(text)
        if number == "inf" || number == "nan" { return true }
        let parts = number.split(maxSplits: 1, omittingEmptySubsequences: false) { $0 == "e" || $0 == "E" }
        let mantissa = parts[0].split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count + mantissa.count > 2 && isDecimal(mantissa[0])
            && mantissa.dropFirst().allSatisfy { areDigits($0) }
            && parts.dropFirst().allSatisfy { areDigits(unsigned($0)) }
    }

    private static func unsigned(_ text: some StringProtocol) -> Substring {
        Substring(text.hasPrefix("+") || text.hasPrefix("-") ? text.dropFirst() : text.dropFirst(0))
    }

    /// Digits without a zero in front, which other languages would take for octal.
    private static func isDecimal(_ text: some StringProtocol) -> Bool {
        areDigits(text) && (text == "0" || !text.hasPrefix("0"))
    }

    /// Digits, with single underscores between them.
    private static func areDigits(_ text: some StringProtocol, radix: Int = 10) -> Bool {
        text.split(separator: "_", omittingEmptySubsequences: false).allSatisfy { group in
            !group.isEmpty && group.allSatisfy { $0.isASCII && ($0.hexDigitValue ?? radix) < radix }
        }
    }

    private static func plain(_ text: some StringProtocol) -> String { String(text.filter { $0 != "_" }) }

    // MARK: - Dates and times

    /// A date, a time, or both with or without an offset (RFC 3339).
    private static func isDateOrTime(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard isDate(bytes.prefix(10)) else { return isTime(bytes[...]) }
        if bytes.count == 10 { return true }
        guard "Tt ".utf8.contains(bytes[10]) else { return false }
        var time = bytes[11...]
        if let last = time.last, "Zz".utf8.contains(last) {
            time = time.dropLast()
        } else if let sign = time.firstIndex(where: { "+-".utf8.contains($0) }) {
            let offset = time[time.index(after: sign)...]
            guard offset.count == 5, isClock(offset, [23, 59]) else { return false }
            time = time[..<sign]
        }
        return isTime(time)
    }

    /// Whether `text` starts with a whole date.
    static func isDate(_ text: some Sequence<UInt8>) -> Bool {
        let fields = Array(text).split(separator: UInt8(ascii: "-"), omittingEmptySubsequences: false)
        guard fields.map(\.count) == [4, 2, 2], let year = number(fields[0]), let month = number(fields[1]),
            let day = number(fields[2]), (1...12).contains(month)
        else { return false }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return (1...days[month - 1]).contains(day)
    }

    /// Hours, minutes and seconds, of which a leap second is the 60th, and perhaps a fraction.
    private static func isTime(_ text: ArraySlice<UInt8>) -> Bool {
        let parts = text.split(separator: UInt8(ascii: "."), maxSplits: 1, omittingEmptySubsequences: false)
        return isClock(parts[0], [23, 59, 60])
            && parts.dropFirst().allSatisfy { !$0.isEmpty && $0.allSatisfy(\.isASCIIDigit) }
    }

    /// Pairs of digits between colons, each at most the number in `highest`.
    private static func isClock(_ text: ArraySlice<UInt8>, _ highest: [Int]) -> Bool {
        let fields = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        return fields.count == highest.count
            && zip(fields, highest).allSatisfy { field, most in
                field.count == 2 && number(field).map { $0 <= most } == true
            }
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        digits.allSatisfy(\.isASCIIDigit) ? Int(String(decoding: digits, as: UTF8.self)) : nil
    }
}
