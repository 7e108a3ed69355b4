import Linux
import Testing

@Suite("Hexadecimal numbers")
struct HexadecimalTests {
    @Test("They are filled up with zeros, and never cut")
    func digits() {
        #expect(UInt8(0).hexadecimal(digits: 2) == "00")
        #expect(UInt8(0xaf).hexadecimal(digits: 2) == "af")
        #expect(UInt16(0x1b).hexadecimal(digits: 4) == "001b")
        #expect(UInt32(0x1f600).hexadecimal(digits: 4) == "1f600")
    }
}
