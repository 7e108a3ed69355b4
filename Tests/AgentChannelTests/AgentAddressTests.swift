import AgentChannel
import Linux
import Ports
import Testing

@Suite("Agent addresses")
struct AgentAddressTests {
    @Test(
        "Every form is read and written back",
        arguments: [
            ("vsock:3", "vsock:3"), ("unix:/run/rum", "unix:/run/rum"),
            ("hybrid:/tmp/v.sock", "hybrid:/tmp/v.sock"),
            ("tcp:10.0.0.1", "tcp:10.0.0.1:2222"), ("tcp:10.0.0.1:7", "tcp:10.0.0.1:7"),
            ("tcp:[::1]:7", "tcp:[::1]:7"), ("tcp:[::1]", "tcp:[::1]:2222"), ("tcp:::1", "tcp:[::1]:2222"),
            ("tcp:localhost:9", "tcp:127.0.0.1:9"),
        ])
    func forms(_ text: String, _ written: String) throws {
        #expect(try AgentAddress(text: text).description == written)
    }

    @Test(
        "What is no address says what was expected",
        arguments: [
            "", "vsock", "vsock:2", "vsock:4294967295", "vsock:x", "unix:", "hybrid:", "tcp:", "tcp:host",
            "tcp:1.2.3.4:65535", "tcp:1.2.3.4:0", "serial:1",
        ])
    func refused(_ text: String) {
        #expect(throws: AgentAddress.ParseError.self) { try AgentAddress(text: text) }
    }

    @Test("The forward port is beside the RPC port")
    func ports() throws {
        #expect(try AgentAddress(text: "vsock:9").socketAddress(for: .forward) == .vsock(cid: 9, port: 2223))
        #expect(
            try AgentAddress(text: "tcp:10.0.0.1:7").socketAddress(for: .forward)
                == .tcp(.v4(0x0a00_0001), port: 8))
        #expect(
            try AgentAddress(text: "unix:/run/rum").socketAddress(for: .forward)
                == .unix(path: "/run/rum/2223.sock"))
    }
}
