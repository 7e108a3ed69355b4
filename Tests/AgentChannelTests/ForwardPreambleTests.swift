import AgentChannel
import Ports
import Testing

@Suite("Forward protocol")
struct ForwardProtocolTests {
    @Test("The preamble is the token and the port in network order")
    func golden() throws {
        let token = try #require(MachineToken(bytes: Array(UInt8(0)..<32)))
        let preamble = ForwardPreamble(token: token, port: try #require(PortNumber(0x1389)))
        #expect(preamble.bytes == Array(UInt8(0)..<32) + [0x13, 0x89])
        #expect(ForwardPreamble(bytes: preamble.bytes) == preamble)
    }

    @Test("A preamble of the wrong length or with port 0 is none", arguments: [0, 33, 34, 35])
    func wrong(_ count: Int) {
        #expect(ForwardPreamble(bytes: [UInt8](repeating: 0, count: count)) == nil)
    }

    @Test("A token is 64 hexadecimal digits, white space around them ignored")
    func token() throws {
        let token = MachineToken.random()
        #expect(token.text.count == 64)
        #expect(MachineToken(text: " \(token.text.uppercased())\n") == token)
        #expect(MachineToken(text: token.text.dropLast()) == nil)
        #expect(MachineToken(text: token.text.dropLast() + "g") == nil)
        #expect(MachineToken(text: "") == nil)
    }

    @Test("Tokens match only when every byte does")
    func matches() throws {
        let token = MachineToken.random()
        #expect(token.matches(token))
        for index in [0, 15, 31] {
            var bytes = token.bytes
            bytes[index] ^= 1
            #expect(!token.matches(try #require(MachineToken(bytes: bytes))))
        }
    }

    @Test("The status bytes are the documented ones")
    func statuses() {
        #expect(
            [ForwardStatus.connected, .refused, .notAllowed, .badToken].map(\.rawValue) == [0, 1, 2, 3])
        #expect(ForwardStatus(rawValue: 4) == nil)
    }
}
