import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import TestSupport
import Testing

/// A network namespace that plays the guest, with an agent in it.
final class Guest: Sendable {
    let namespace: NetworkNamespace
    private let folder: TestFolder
    var directory: String { folder.path }

    init() async throws {
        namespace = try await NetworkNamespace()
        folder = try TestFolder()
    }

    /// Starts an agent and waits until it serves.
    func startAgent(_ arguments: [String] = [], unread: [Int32] = []) async throws -> Program {
        let address = "unix:\(directory)"
        let agent = try await start("rum-agent", ["--listen", address] + arguments, unread: unread)
        if unread.isEmpty {
            try await agent.waits(for: "mode ")
        } else {
            try await eventually("the agent's sockets") {
                try FileManager.default.contentsOfDirectory(atPath: directory).count == 2
            }
        }
        return agent
    }

    /// Starts a program in the guest.
    func start(_ name: String, _ arguments: [String], unread: [Int32] = []) async throws -> Program {
        try await namespace.run { try Program(name, arguments, unread: unread) }
    }

    /// Starts `rum forward` on the host's side.
    func startForward(
        _ arguments: [String], environment: [String: String] = [:], unread: [Int32] = []
    ) throws -> Program {
        try Program(
            "rum", ["forward", "--agent", "unix:\(directory)"] + arguments, environment: environment,
            unread: unread)
    }

    /// Opens a listener in the guest.
    func listen(_ address: IPAddress = .anyV4, port: UInt16) async throws -> TestListener {
        // A full backlog would drop handshakes, which TCP repeats only after seconds.
        var options = TestListener.Options()
        options.backlog = 4096
        return try await namespace.run { [options] in try TestListener(address, port: port, options: options)
        }
    }

    /// Opens a listener on each port of a range in the guest.
    func listen(ports: Range<UInt16>) async throws -> [TestListener] {
        try await namespace.run { try ports.map { try TestListener(.anyV4, port: $0) } }
    }
}

/// A connection from the host.
struct Client: ~Copyable {
    let socket: OwnedDescriptor

    /// Connects, blocking; throws ECONNREFUSED where nobody listens.
    init(port: UInt16, address: IPAddress = .loopbackV4) throws(SystemError) {
        let target = SocketAddress.tcp(address, port: port)
        let opened = OwnedDescriptor(
            owning: try SystemError.check(
                "socket", Glibc.socket(target.family, Int32(SOCK_STREAM.rawValue), 0)))
        let fd = opened.rawValue
        var limit = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        try target.connect(fd)
        socket = opened
    }

    func send(_ text: String) throws(SystemError) {
        let bytes = Array(text.utf8)
        _ = try SystemError.check(
            "send", Glibc.send(socket.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL)))
    }

    func finishWriting() { shutdown(socket.rawValue, Int32(SHUT_WR)) }

    /// Everything up to the other side's end of file; throws ECONNRESET on a reset.
    func readToEnd() throws(SystemError) -> String {
        var all: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = try SystemError.check("recv", recv(socket.rawValue, &buffer, buffer.count, 0))
            if count == 0 { return String(decoding: all, as: UTF8.self) }
            all += buffer[..<count]
        }
    }

    /// How long it takes from now until the host accepts connections on the port; asks every 50 µs.
    static func timeUntilReachable(_ port: UInt16) async throws -> Duration {
        let start = ContinuousClock.now
        let result = AsyncStream<Duration>.makeStream()
        try DedicatedThread.start(name: "reach") {
            while !reaches(port), start.duration(to: .now) < .seconds(20) { usleep(50) }
            result.continuation.yield(start.duration(to: .now))
            result.continuation.finish()
        }
        for await time in result.stream where time < .seconds(20) { return time }
        throw NeverHappened(what: "host port \(port) open")
    }

    /// Whether the host accepts connections on the port.
    static func reaches(_ port: UInt16, _ address: IPAddress = .loopbackV4) -> Bool {
        (try? Client(port: port, address: address)) != nil
    }
}
