/// Classes of ASCII characters, for names and numbers in texts from elsewhere; a byte of any other character is in none. Not for
/// the parsers of /proc, which look at too many bytes for a call each.
extension UInt8 {
    package var isASCIIDigit: Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(self) }

    package var isASCIILowercase: Bool { (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) }

    package var isASCIILetter: Bool {
        isASCIILowercase || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self)
    }

    /// In either case.
    package var isASCIIHexDigit: Bool {
        isASCIIDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(self | 0x20)
    }

    package var isASCIIAlphanumeric: Bool { isASCIILetter || isASCIIDigit }
}
