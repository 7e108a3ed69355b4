import AgentChannel
import Glibc
import Linux
import Ports
import TestSupport
import Testing

/// Real sockets in a temporary directory.
@Suite("Agent dialer")
struct AgentDialerTests {
    /// A listening unix socket in a folder of its own.
    final class Place: Sendable {
        let path: String
        let socket: OwnedDescriptor
        private let folder: TestFolder

        init(backlog: Int32 = 16) throws {
            folder = try TestFolder()
            path = folder.path + "/2222.sock"
            socket = try StreamSocket.listen(on: .unix(path: path), backlog: backlog)
        }

        var directory: String { folder.path }

        /// Accepts one connection, reads the CONNECT line and answers with the parts, each on its own.
        func answer(_ parts: [String], close: Bool) async throws -> OwnedBox {
            try await withCheckedThrowingContinuation { continuation in
                do {
                    try DedicatedThread.start(name: "hybrid") { [self] in
                        var entry = pollfd(fd: socket.rawValue, events: Int16(POLLIN), revents: 0)
                        poll(&entry, 1, 30_000)
                        let fd = accept(socket.rawValue, nil, nil)
                        var line: [UInt8] = []
                        var byte: UInt8 = 0
                        while recv(fd, &byte, 1, 0) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
                        for part in parts {
                            send(fd, part, part.utf8.count, Int32(MSG_NOSIGNAL))
                            usleep(2000)
                        }
                        if close { shutdown(fd, Int32(SHUT_RDWR)) }
                        let text = String(decoding: line, as: UTF8.self)
                        continuation.resume(
                            returning: OwnedBox(line: text, descriptor: OwnedDescriptor(owning: fd)))
                    }
                } catch {
                    continuation.resume(throwing: error)
                }
            }
        }
    }

    final class OwnedBox: Sendable {
        let line: String
        let descriptor: OwnedDescriptor

        init(line: String, descriptor: consuming OwnedDescriptor) {
            self.line = line
            self.descriptor = descriptor
        }
    }

    static func reason(_ dialer: AgentDialer) async -> AgentDialError.Reason? {
        do throws(AgentDialError) {
            _ = try await dialer.dial(.rpc)
            return nil
        } catch {
            #expect(!error.description.isEmpty && !error.hint.isEmpty)
            return error.reason
        }
    }

    @Test("A unix agent is reached")
    func unix() async throws {
        let place = try Place()
        let socket = try await AgentDialer(address: .unix(directory: place.directory)).dial(.rpc)
        #expect(StreamSocket.pendingError(socket.rawValue) == nil)
    }

    @Test("Nobody, no socket and no process behind the socket are told apart")
    func refusals() async throws {
        #expect(await Self.reason(AgentDialer(address: .unix(directory: "/nonexistent"))) == .noSocket)
        let place = try Place()
        let stale = place.directory
        let copy = place.path
        // A socket that is bound but not listened on refuses, like one whose process has gone.
        unlink(copy)
        let dead = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(dead) }
        try SocketAddress.unix(path: copy).bind(dead)
        #expect(await Self.reason(AgentDialer(address: .unix(directory: stale))) == .nobodyListens)
        let free = try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0))
        guard case .tcp(let ip, let port, _) = try StreamSocket.localAddress(free.rawValue) else { return }
        _ = consume free
        #expect(await Self.reason(AgentDialer(address: .tcp(ip, port: port))) == .nobodyListens)
    }

    @Test("A full backlog is waited for, up to the time limit")
    func fullBacklog() async throws {
        let place = try Place(backlog: 0)
        let first = try await AgentDialer(address: .unix(directory: place.directory)).dial(.rpc)
        let dialer = AgentDialer(address: .unix(directory: place.directory), timeout: .milliseconds(50))
        #expect(await Self.reason(dialer) == .timedOut)
        _ = first.rawValue
    }

    @Test("The hybrid greeting may come in pieces, and what follows it is left for the caller")
    func greeting() async throws {
        let place = try Place()
        async let peer = place.answer(["OK ", "10", "73741824\nhello"], close: false)
        let socket = try await AgentDialer(address: .hybrid(path: place.path), timeout: .seconds(30)).dial(
            .forward)
        #expect(try await peer.line == "CONNECT 2223")
        var rest = [UInt8](repeating: 0, count: 16)
        #expect(recv(socket.rawValue, &rest, rest.count, 0) == 5)
    }

    @Test("A hybrid socket that refuses, closes or stays silent is told apart")
    func hybridFaults() async throws {
        let dialer = { (place: Place) in
            AgentDialer(address: .hybrid(path: place.path), timeout: .seconds(30))
        }
        let rude = try Place()
        async let refusing = rude.answer(["NO\n"], close: false)
        #expect(await Self.reason(dialer(rude)) == .greetingRefused("NO"))
        _ = try await refusing
        let brief = try Place()
        async let cut = brief.answer(["OK 1"], close: true)
        #expect(await Self.reason(dialer(brief)) == .greetingCut)
        _ = try await cut
        let mute = try Place()
        let short = AgentDialer(address: .hybrid(path: mute.path), timeout: .milliseconds(50))
        #expect(await Self.reason(short) == .timedOut)
    }

    @Test("A cancelled dial gives up at once")
    func cancelled() async throws {
        let place = try Place(backlog: 0)
        let first = try await AgentDialer(address: .unix(directory: place.directory)).dial(.rpc)
        let dialer = AgentDialer(address: .unix(directory: place.directory), timeout: .seconds(60))
        let reason = await withTaskGroup(of: AgentDialError.Reason?.self) { group in
            group.addTask { await Self.reason(dialer) }
            group.cancelAll()
            return await group.next() ?? nil
        }
        #expect(reason == .cancelled)
        _ = first.rawValue
    }
}
