import AgentChannel
import Glibc
import Linux
import PortForward
import Ports
import Relay
import TestSupport
import Testing

@testable import HostForward

@Suite("PROXY protocol, version 2")
struct ProxyHeaderTests {
    static let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

    private static func address(_ text: String, _ port: UInt16) -> SocketAddress? {
        IPAddress(text: text).map { .tcp($0, port: port) }
    }

    @Test("The header has the bytes of the specification")
    func bytes() {
        let v4 = ProxyHeader(
            source: Self.address("127.0.0.2", 40_000), destination: Self.address("127.0.0.1", 80))
        #expect(
            v4.bytes == Self.signature + [
                0x21, 0x11, 0, 12, 127, 0, 0, 2, 127, 0, 0, 1, 0x9c, 0x40, 0, 80,
            ])
        let v6 = ProxyHeader(
            source: Self.address("2001:db8::7", 1), destination: Self.address("::1", 65_535))
        let zeros = [UInt8](repeating: 0, count: 11)
        #expect(
            v6.bytes == Self.signature + [0x21, 0x21, 0, 36, 0x20, 1, 0x0d, 0xb8] + zeros + [7]
                + zeros + [0, 0, 0, 0, 1, 0, 1, 0xff, 0xff])
        let unknown = ProxyHeader(source: nil, destination: Self.address("::1", 1))
        #expect(unknown.bytes == Self.signature + [0x21, 0, 0, 0])
        let mixed = ProxyHeader(source: Self.address("127.0.0.1", 1), destination: Self.address("::1", 1))
        #expect(mixed.bytes == unknown.bytes)
    }

    @Test("A client's addresses go to the agent before all that it says", arguments: [false, true])
    func client(holds: Bool) async throws {
        let folder = try TestFolder()
        let agent = try StreamSocket.listen(on: .unix(path: folder.path + "/2223.sock"))
        let engine = try RelayEngine()
        let target = ForwardTarget(address: .unix(directory: folder.path), token: .none, version: .records)
        let port = try FreePort.next()
        var key = HostListenerTests.key(port, .loopback)
        (key.settings.proxyProtocol, key.settings.hold) = (true, holds ? .seconds(2) : nil)
        let bound = try RelayBinder(engine: engine, agent: target).bind(key)
        let client = try StreamSocket.connect(to: .tcp(.loopbackV4, port: port.rawValue))
        let own = try StreamSocket.localAddress(client.rawValue)
        guard case .tcp(_, let clientPort, _) = own else {
            throw SystemError(code: EINVAL, operation: "port")
        }
        var entry = pollfd(fd: agent.rawValue, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 10_000) == 1)
        let tunnel = OwnedDescriptor(owning: accept(agent.rawValue, nil, nil))
        let header =
            Self.signature + [0x21, 0x11, 0, 12, 127, 0, 0, 1, 127, 0, 0, 1] + Self.big(clientPort)
            + Self.big(port.rawValue)
        let expected =
            ForwardPreamble(
                token: .none, port: port, version: .records, waitsForAnswer: holds
            ).bytes + [0, 0, 0, 28] + header
        var received = [UInt8](repeating: 0, count: expected.count)
        #expect(recv(tunnel.rawValue, &received, received.count, Int32(MSG_WAITALL)) == expected.count)
        #expect(received == expected)
        bound.close()
        await engine.shutdown()
    }

    private static func big(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }
}
