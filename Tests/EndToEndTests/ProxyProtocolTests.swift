import Foundation
import Glibc
import Linux
import LiveKernel
import TestSupport
import Testing

/// Whether Debian's package is there; its program is not on every user's PATH.
private let haproxy = "/usr/sbin/haproxy"

@Suite("The client's address, told by the PROXY protocol", .serialized, .timeLimit(.minutes(1)))
struct ProxyProtocolTests {
    @Test(
        "HAProxy sees the address of the client on the host",
        .enabled(if: access(haproxy, X_OK) == 0, "needs haproxy: scripts/setup-packages test"),
        arguments: [IPAddress.loopbackV4, .loopbackV6], [false, true])
    func haproxySees(address: IPAddress, holds: Bool) async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let folder = try TestFolder()
        let config = try folder.file(
            "haproxy.cfg",
            """
            defaults
                mode http
                timeout client 10s
            frontend seen
                bind 127.0.0.1:5830 accept-proxy
                http-request return status 200 content-type text/plain lf-string "%[src] %[src_port] %[dst] %[dst_port]"

            """)
        let server = try await guest.namespace.run { try Program(haproxy, ["-db", "-f", config]) }
        let rum = try guest.startForward(
            ["--auto", "5830-5830", "--bind", "localhost", "--proxy-protocol"]
                + (holds ? ["--hold", "2s"] : []))
        try await rum.waits(for: "Auto-forwarding localhost:5830")
        let client = try Client(port: 5830, address: address)
        guard case .tcp(_, let port, _) = try StreamSocket.localAddress(client.socket.rawValue) else {
            throw NeverHappened(what: "a port")
        }
        try client.send("GET / HTTP/1.0\r\n\r\n")
        let answer = try client.readToEnd()
        #expect(answer.hasPrefix("HTTP/1.1 200 OK") || answer.hasPrefix("HTTP/1.0 200 OK"), "\(answer)")
        #expect(answer.hasSuffix("\(address) \(port) \(address) 5830"), "\(answer)")
        withExtendedLifetime((agent, server)) {}
    }
}
