import Linux
import Testing

@Suite("Classes of ASCII characters")
struct ASCIIClassTests {
    @Test("Every byte is in the classes that its character is in, and one that is not ASCII in none")
    func everyByte() {
        for byte in UInt8.min...UInt8.max {
            let character = byte < 0x80 ? Character(UnicodeScalar(byte)) : "\u{fffd}"
            #expect(byte.isASCIIDigit == "0123456789".contains(character))
            #expect(byte.isASCIILowercase == (byte < 0x80 && character.isLowercase))
            #expect(byte.isASCIILetter == (byte < 0x80 && character.isLetter))
            #expect(byte.isASCIIHexDigit == (byte < 0x80 && character.isHexDigit))
            #expect(byte.isASCIIAlphanumeric == (byte < 0x80 && (character.isLetter || character.isNumber)))
        }
    }
}
