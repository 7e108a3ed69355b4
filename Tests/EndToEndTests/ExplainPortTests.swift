import AgentAPI
import AgentSession
import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import TestSupport
import Testing

@Suite("What an agent knows about a port", .serialized, .timeLimit(.minutes(1)))
struct ExplainPortTests {
    @Test("A listener of its own namespace, with its process and an accept queue that fills up")
    func own() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        var options = TestListener.Options()
        options.backlog = 1
        let listener = try await guest.namespace.run { [options] in
            try TestListener(.anyV4, port: 5555, options: options)
        }
        let first = try await explain(5555, of: guest)
        #expect(first.incomplete == nil)
        let found = try #require(first.listeners.first { $0.networkNamespace == nil })
        #expect(found.socket.address == .anyV4)
        #expect(found.socket.process?.pid == getpid())
        #expect(found.queue == .init(waiting: 0, limit: 1))
        #expect(found.queue?.isFull == false)

        // The kernel completes these without anybody accepting them, as long as there is room.
        let clients = try await guest.namespace.run {
            try (0..<4).map { _ in try StreamSocket.connect(to: .tcp(.loopbackV4, port: 5555)).release() }
        }
        defer { for client in clients { close(client) } }
        try await eventually("a full queue") {
            try await explain(5555, of: guest).listeners.first?.queue?.isFull == true
        }
        withExtendedLifetime((listener, agent)) {}
    }

    @Test("A listener of another network namespace, with its process")
    func foreign() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let other = try await Guest()
        // Any program that listens would do.
        let token = "\(other.directory)/token"
        try String(repeating: "ab", count: 32).write(toFile: token, atomically: true, encoding: .utf8)
        let container = try await other.start(
            "rum-agent", ["--listen", "tcp:127.0.0.1:5556", "--token-file", token])
        try await container.waits(for: "mode ")
        let answer = try await explain(5556, of: guest)
        #expect(answer.incomplete == nil)
        let found = try #require(answer.listeners.first)
        #expect(answer.listeners.count == 1)
        #expect(found.networkNamespace != nil)
        #expect(found.socket.address == .loopbackV4)
        #expect(found.socket.process == ListeningProcess(pid: container.pid, name: "rum-agent"))
        #expect(found.queue == nil)
        _ = agent
    }

    @Test("A port that nobody listens on has no listeners, and that is the whole answer")
    func nobody() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        #expect(try await explain(5557, of: guest) == PortExplanation(listeners: []))
        _ = agent
    }

    private func explain(_ number: UInt16, of guest: Guest) async throws -> PortExplanation {
        let socket = "\(guest.directory)/2222.sock"
        let answer = try await AgentConnection.with(token: nil, firstAnswerWithin: .seconds(20)) {
            try StreamSocket.connect(to: .unix(path: socket))
        } _: {
            try await $0.explainPort(port(number), timeout: .seconds(20))
        }
        return try #require(answer)
    }
}
