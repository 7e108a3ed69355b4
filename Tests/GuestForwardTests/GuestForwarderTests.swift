import AgentChannel
import Glibc
import GuestForward
import Linux
import LiveKernel
import Ports
import Relay
import TestSupport
import Testing

@Suite("Guest forwarder")
struct GuestForwarderTests {
    static let token = MachineToken.random()

    /// What the forwarder answers to a preamble; nil when it closes without an answer.
    static func status(
        _ address: SocketAddress, _ token: MachineToken, port: UInt16, thenBytes: Int = 0
    ) throws -> ForwardStatus? {
        let socket = try StreamSocket.connect(to: address)
        _ = fcntl(socket.rawValue, F_SETFL, 0)
        let number = try #require(PortNumber(port))
        let bytes =
            ForwardPreamble(token: token, port: number).bytes + [UInt8](repeating: 1, count: thenBytes)
        // In two pieces: a preamble may come in any.
        send(socket.rawValue, bytes, 10, Int32(MSG_NOSIGNAL))
        let rest = Array(bytes.dropFirst(10))
        send(socket.rawValue, rest, rest.count, Int32(MSG_NOSIGNAL))
        var byte: UInt8 = 0
        return recv(socket.rawValue, &byte, 1, 0) == 1 ? ForwardStatus(rawValue: byte) : nil
    }

    @Test("It connects to what listens and says why it does not connect to the rest")
    func statuses() async throws {
        let engine = try RelayEngine()
        let server = try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0))
        let target = try StreamSocket.localAddress(server.rawValue)
        guard case .tcp(_, let port, _) = target else { return }
        let silent = try TestListener.silent()
        let nobody = silent.port.rawValue
        // It is tried where it is known to listen, and on loopback where it is not.
        let forwarder = GuestForwarder(engine: engine, token: Self.token, targets: DialTargets { _ in [] })
        let address = try forwarder.listen(on: .tcp(.loopbackV4, port: 0))
        #expect(try Self.status(address, Self.token, port: port) == .connected)
        #expect(try Self.status(address, Self.token, port: nobody) == .refused)
        #expect(try Self.status(address, .none, port: port) == .badToken)
        // The answer survives client bytes that nobody reads.
        #expect(try Self.status(address, Self.token, port: nobody, thenBytes: 50_000) == .refused)
        #expect(forwarder.counters.first?.counters.failed == 3)
        withExtendedLifetime(silent) {}
        forwarder.close()
        await engine.shutdown()
    }

    @Test("A host that never finishes its preamble is dropped at the time limit")
    func slowPreamble() async throws {
        var options = RelayOptions()
        options.silenceTimeout = .milliseconds(100)
        let engine = try RelayEngine(options: options)
        let forwarder = GuestForwarder(engine: engine, token: .none, targets: DialTargets { _ in [] })
        let address = try forwarder.listen(on: .tcp(.loopbackV4, port: 0))
        let socket = try StreamSocket.connect(to: address)
        _ = fcntl(socket.rawValue, F_SETFL, 0)
        var byte: UInt8 = 0
        #expect(recv(socket.rawValue, &byte, 1, 0) <= 0)
        await engine.shutdown()
    }

    @Test("A stale unix socket is replaced, a live one is not, and closing removes the file")
    func unixSocket() async throws {
        let folder = try TestFolder()
        let address = SocketAddress.unix(path: folder.path + "/2223.sock")
        do { _ = try StreamSocket.listen(on: address) }
        let engine = try RelayEngine()
        let targets = DialTargets { _ in [] }
        let forwarder = GuestForwarder(engine: engine, token: .none, targets: targets)
        try forwarder.listen(on: address)
        #expect(try Self.status(address, .none, port: 1) == .refused)
        let second = GuestForwarder(engine: engine, token: .none, targets: targets)
        let failure = #expect(throws: SystemError.self) { try second.listen(on: address) }
        #expect(failure?.code == EADDRINUSE)
        forwarder.close()
        #expect(access(folder.path + "/2223.sock", F_OK) != 0)
        await engine.shutdown()
    }

    @Test("A file in the place of a unix socket that is none is left alone")
    func otherFile() async throws {
        let folder = try TestFolder()
        let path = folder.path + "/2223.sock"
        #expect(close(creat(path, 0o600)) == 0)
        let engine = try RelayEngine()
        let forwarder = GuestForwarder(engine: engine, token: .none, targets: DialTargets { _ in [] })
        let failure = #expect(throws: SystemError.self) { try forwarder.listen(on: .unix(path: path)) }
        #expect(failure?.code == EADDRINUSE)
        forwarder.close()
        #expect(access(path, F_OK) == 0)
        await engine.shutdown()
    }
}
