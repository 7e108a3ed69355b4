import Linux
import Ports
import SockDiag
import Testing

/// Written by hand from linux/netlink.h and linux/inet_diag.h, not by the encoder.
@Suite("The bytes of a question to sock_diag")
struct DiagRequestTests {
    @Test("All listeners: one legacy dump of both families, state LISTEN, no filter")
    func all() {
        let expected = hex(
            """
            4c000000 1200 0103 07000000 00000000
            00 00 00 00
            0000 0000 00000000000000000000000000000000 00000000000000000000000000000000
            00000000 00000000 00000000
            00040000 00000000
            """)
        #expect(DiagRequest.listeners(.all).bytes(sequence: 7) == expected)
    }

    @Test("A range of ports becomes bytecode that the kernel runs on each socket")
    func range() throws {
        let range = try #require(PortRange(text: "5002-5003"))
        let bytes = DiagRequest.listeners(range).bytes(sequence: 7)
        let filter = hex("1400 0100 02 08 1400 00 00 8a13 03 08 0c00 00 00 8b13")
        #expect(Array(bytes.prefix(4)) == hex("60000000"))
        #expect(Array(bytes.dropFirst(76)) == filter)
    }

    @Test("The owner of an IPv4 address and port on loopback: a version 2 look-up, not a dump")
    func ownerV4() throws {
        let port = try #require(PortNumber(5001))
        let expected = hex(
            """
            48000000 1400 0100 01000000 00000000
            02 06 00 00 00040000
            1389 0000 7f000001000000000000000000000000 00000000000000000000000000000000
            01000000 ffffffff ffffffff
            """)
        #expect(DiagRequest.owner(.loopbackV4, port, interfaceIndex: 1).bytes(sequence: 1) == expected)
    }

    @Test("The owner of an IPv6 address: family 10 and all sixteen bytes in network order")
    func ownerV6() throws {
        let port = try #require(PortNumber(65535))
        let address = try #require(IPAddress(text: "2001:db8::102"))
        let bytes = DiagRequest.owner(address, port, interfaceIndex: 0x0203).bytes(sequence: 1)
        #expect(Array(bytes[16..<24]) == hex("0a 06 00 00 00040000"))
        #expect(Array(bytes[24..<44]) == hex("ffff 0000 20010db8000000000000000000000102"))
        #expect(Array(bytes[60..<64]) == hex("03020000"))
    }

    private func hex(_ text: String) -> [UInt8] {
        let digits = text.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue)
        return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
    }
}
