import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import Synchronization
import TestSupport
import Testing

/// A server that restarts all the time, as with hot reload, while clients go on asking it.
@Suite("Reloads under load", .serialized, .timeLimit(.minutes(3)))
struct ReloadTests {
    /// Requests of a test.
    struct Score: Hashable {
        var answered = 0
        var failed = 0
    }

    static let restarts = 100

    @Test("A hundred restarts under a constant load fail no request with hold; without it most")
    func restarts() async throws {
        let without = try await score(port: 5821, [])
        let with = try await score(port: 5820, ["--hold", "30s"])
        print(
            "\(Self.restarts) restarts without hold: \(without.failed) of \(without.answered + without.failed) requests failed"
        )
        print(
            "\(Self.restarts) restarts with hold: \(with.failed) of \(with.answered + with.failed) requests failed"
        )
        #expect(with.failed == 0 && with.answered > Self.restarts)
        #expect(without.failed > Self.restarts)
    }

    private func score(port number: UInt16, _ options: [String]) async throws -> Score {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--auto", "\(number)-\(number)"] + options)
        var server: TestListener? = try await guest.listen(port: number)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:\(number)")
        let load = Load(port: number)
        let clients = try (0..<8).map { _ in try BackgroundThread { load.run() } }
        for _ in 0..<Self.restarts {
            if let server {
                try await onThread {
                    ReloadingServer.serve(server, milliseconds: 20)
                    try ReloadingServer.end(server, without: agent)
                }
            }
            server = nil
            agent.send(SIGCONT)
            try await Task.sleep(for: .milliseconds(20))
            server = try await guest.listen(port: number)
        }
        // The last one serves until all clients have their answer.
        let last = server
        let serving = try BackgroundThread {
            if let last { ReloadingServer.serve(last, while: { load.isRunning }) }
        }
        load.end()
        for client in clients { await client.end() }
        await serving.end()
        withExtendedLifetime((agent, rum)) {}
        return load.score
    }
}

/// Answers each connection, one after the other.
enum ReloadingServer {
    static func serve(_ listener: TestListener, milliseconds: Int) {
        let end = ContinuousClock.now + .milliseconds(milliseconds)
        serve(listener, while: { .now < end })
    }

    static func serve(_ listener: TestListener, while goesOn: () -> Bool) {
        while goesOn() {
            guard listener.isReadable(within: 1) else { continue }
            let number = accept(listener.descriptor.rawValue, nil, nil)
            guard number >= 0 else { return }
            answer(OwnedDescriptor(owning: number), flags: Int32(MSG_WAITALL))
        }
    }

    /// Stops the agent, and then answers whoever has reached the server and resets all others, as the end of the listener does.
    ///
    /// Without the stop a request may come between the last look at the queue and the end of the listener. It has
    /// reached the server then, and nothing that was delivered is sent twice: no relay could keep it from failing.
    static func end(_ listener: TestListener, without agent: Program) throws {
        agent.send(SIGSTOP)
        let deadline = ContinuousClock.now + .seconds(30)
        while try !agent.isStopped || isSending(agent, to: listener.port) {
            guard .now < deadline else { throw NeverHappened(what: "a stopped agent") }
            usleep(100)
        }
        while listener.isReadable(within: 0) {
            let number = accept(listener.descriptor.rawValue, nil, nil)
            guard number >= 0 else { return }
            answer(OwnedDescriptor(owning: number), flags: Int32(MSG_DONTWAIT))
        }
        // Before the agent goes on, whoever else has the socket still.
        shutdown(listener.descriptor.rawValue, Int32(SHUT_RD))
    }

    private static func answer(_ client: consuming OwnedDescriptor, flags: Int32) {
        var request = [UInt8](repeating: 0, count: 4)
        guard recv(client.rawValue, &request, 4, flags) == 4 else {
            var now = linger(l_onoff: 1, l_linger: 0)
            setsockopt(client.rawValue, SOL_SOCKET, SO_LINGER, &now, socklen_t(MemoryLayout<linger>.size))
            return
        }
        _ = send(client.rawValue, request, 4, Int32(MSG_NOSIGNAL))
    }

    /// Whether something that was sent to the port in the program's network namespace has not arrived yet: in /proc/net/tcp, a
    /// connect that is on its way (state 02), or a queue of bytes to send that is not empty.
    private static func isSending(_ program: Program, to port: PortNumber) throws -> Bool {
        let table = try String(contentsOfFile: "/proc/\(program.pid)/net/tcp", encoding: .utf8)
        let number = String(port.rawValue, radix: 16, uppercase: true)
        return table.split(separator: "\n").dropFirst().contains { line in
            let columns = line.split(separator: " ")
            return columns[2].hasSuffix(":" + number)
                && (columns[3] == "02" || !columns[4].hasPrefix("00000000:"))
        }
    }
}

extension Program {
    /// Whether all its threads are stopped by a signal.
    fileprivate var isStopped: Bool {
        let tasks = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        return !tasks.isEmpty
            && tasks.allSatisfy { task in
                let stat = try? String(contentsOfFile: "/proc/\(pid)/task/\(task)/stat", encoding: .utf8)
                return stat?.contains(") T ") == true
            }
    }
}

/// Clients that ask again and again.
private final class Load: Sendable {
    private let port: UInt16
    private let ended = Atomic(false)
    private let running = Atomic(0)
    private let counts = Mutex(ReloadTests.Score())

    init(port: UInt16) { self.port = port }

    var score: ReloadTests.Score { counts.withLock { $0 } }
    /// Whether some client has still to be answered.
    var isRunning: Bool { !ended.load(ordering: .relaxed) || running.load(ordering: .relaxed) > 0 }

    func end() { ended.store(true, ordering: .relaxed) }

    /// One client, which asks some 200 times a second until `end`.
    func run() {
        running.add(1, ordering: .relaxed)
        while !ended.load(ordering: .relaxed) {
            let isAnswered = (try? ask()) == "ping"
            counts.withLock { counts in
                if isAnswered { counts.answered += 1 } else { counts.failed += 1 }
            }
            usleep(5000)
        }
        running.subtract(1, ordering: .relaxed)
    }

    private func ask() throws(SystemError) -> String {
        let client = try Client(port: port)
        try client.send("ping")
        return try client.readToEnd()
    }
}
