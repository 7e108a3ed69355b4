import AgentChannel
import Ports
import Testing

@Suite("Forward preamble")
struct ForwardPreambleTests {
    @Test(
        "The preamble is the token and the port in network order; version 2 has port 0, then its number and the port"
    )
    func golden() throws {
        let token = try #require(MachineToken(bytes: Array(UInt8(0)..<32)))
        let port = try #require(PortNumber(0x1389))
        #expect(ForwardPreamble(token: token, port: port).bytes == Array(UInt8(0)..<32) + [0x13, 0x89])
        #expect(
            ForwardPreamble(token: token, port: port, version: .records).bytes
                == Array(UInt8(0)..<32) + [0, 0, 2, 0, 0x13, 0x89])
        // What came with version 3 is no tunnel.
        #expect(
            ForwardPreamble(token: token, port: port, version: .tables).bytes
                == ForwardPreamble(token: token, port: port, version: .records).bytes)
    }

    @Test(
        "The version is the highest that both ends know",
        arguments: [(0, .raw), (1, .raw), (2, .records), (3, .tables), (4, .kept), (4_000_000_000, .kept)]
            as [(UInt32, ForwardVersion)])
    func version(_ other: UInt32, _ expected: ForwardVersion) {
        #expect(ForwardVersion(spokenWith: other) == expected)
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
