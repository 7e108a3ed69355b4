import AgentAPI
import AgentChannel
import AgentService
import AgentSession
import Glibc
import Linux
import Ports
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing

@Suite("Following an agent", .timeLimit(.minutes(1)))
struct AgentFollowerTests {
    /// The events of one follower, as short words.
    private final class Log: Sendable {
        private let words = Mutex<[String]>([])
        var all: [String] { words.withLock { $0 } }
        var last: String? { words.withLock { $0.last } }

        func add(_ waiting: AgentWaiting) { words.withLock { $0.append("waiting") } }

        func add(_ event: AgentEvent) {
            let word: String? =
                switch event {
                case .connected(_, _, let delivery): "connected by \(delivery.rawValue)"
                case .table(let table, _): table.ports.map(\.description).joined(separator: ",")
                case .alive: nil
                case .lost: "lost"
                }
            if let word { words.withLock { $0.append(word) } }
        }
    }

    @Test("The stream is preferred, and tables come in order", arguments: [false, true])
    func follow(alwaysPoll: Bool) async throws {
        let tables = ScriptedTables([5001])
        let log = Log()
        try await withServer(tables) { directory in
            let follower = AgentFollower(token: nil, range: .all, alwaysPoll: alwaysPoll) {
                try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await follower.run { log.add($0) } }
                try await eventually { log.last == "5001" }
                tables.publish([5002])
                try await eventually { log.last == "5002" }
                group.cancelAll()
            }
        }
        #expect(log.all.first == "connected by \(alwaysPoll ? "poll" : "stream")")
    }

    @Test("An agent is waited for, its loss is reported, and it is followed again once it is back")
    func reconnect() async throws {
        let directory = try TestFolder()
        let log = Log()
        let follower = AgentFollower(token: nil, range: .all) {
            try StreamSocket.connect(to: directory.rpcAddress)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await follower.run(waiting: log.add) { log.add($0) } }
            for absent in ["waiting", "lost"] {
                try await eventually { log.last == absent }
                let path = "\(directory.path)/2222.sock"
                try await withServer(ScriptedTables([5001])) { other in
                    unlink(path)
                    symlink("\(other.path)/2222.sock", path)
                    try await eventually { log.last == "5001" }
                }
            }
            try await eventually { log.last == "lost" }
            group.cancelAll()
        }
        #expect(!log.all.drop { $0 == "waiting" }.contains("waiting"))
    }

    @Test("Waiting for an agent and following it take one connection")
    func oneConnection() async throws {
        let dials = Recorder<Int>()
        let log = Log()
        try await withServer(ScriptedTables([5001])) { directory in
            let follower = AgentFollower(token: nil, range: .all) {
                dials.add(1)
                return try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await follower.run(waiting: log.add) { log.add($0) } }
                try await eventually { log.last == "5001" }
                group.cancelAll()
            }
        }
        #expect(dials.all.count == 1)
    }

    @Test("An agent that breaks off each time soon after its first table is asked less and less often")
    func breaksOff() async throws {
        let start = ContinuousClock.now
        let connections = Recorder<String>()
        let service = RumAgentService(
            tables: OneTable(), hostname: "guest", instanceID: "one", bootID: "boot")
        try await withServer(service) { directory in
            let follower = AgentFollower(token: nil, range: .all) {
                try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follower.run {
                        if case .connected(let info, _, _) = $0 { connections.add(info.instanceID) }
                    }
                }
                try await eventually("five connections") { connections.all.count >= 5 }
                group.cancelAll()
            }
        }
        // Half of 0.1, 0.2, 0.4 and 0.8 s at least.
        #expect(ContinuousClock.now - start >= .milliseconds(750))
    }

    @Test("How long to wait is the caller's to decide, who gets the problem, whether it is new, and the time")
    func deadline() async throws {
        struct Enough: Error {}
        let attempts = Recorder<AgentWaiting>()
        let follower = AgentFollower(token: nil, range: .all) {
            throw SystemError(code: ENOENT, operation: "connect")
        }
        await #expect(throws: Enough.self) {
            try await follower.run { waiting in
                attempts.add(waiting)
                if waiting.elapsed > .milliseconds(500), attempts.all.count >= 3 { throw Enough() }
            } _: { _ in
            }
        }
        #expect(attempts.all.map(\.isNews) == attempts.all.indices.map { $0 == 0 })
        #expect(Set(attempts.all.map { "\($0.problem)" }).count == 1)
    }

    @Test("A refused token is told as such")
    func refusedToken() async throws {
        let problems = Recorder<AgentProblem>()
        try await withServer(ScriptedTables(), token: .random()) { directory in
            let follower = AgentFollower(token: .random(), range: .all) {
                try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await follower.run(waiting: { problems.add($0.problem) }, { _ in }) }
                try await eventually("so far \(problems.all)") { problems.all.contains(.tokenRefused) }
                group.cancelAll()
            }
        }
    }

    @Test("The host learns at which of its own times the agent and its guest started")
    func start() async throws {
        let start = Recorder<AgentStart>()
        let before = SystemClock.monotonic
        let service = RumAgentService(
            tables: ScriptedTables(), hostname: "guest", instanceID: "one", bootID: "boot", forwardVersion: 2)
        let after = SystemClock.monotonic
        try await withServer(service) { directory in
            let follower = AgentFollower(token: nil, range: .all) {
                try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follower.run {
                        guard case .connected(let info, let told, _) = $0 else { return }
                        #expect(info.forwardVersion == 2)
                        start.add(told)
                    }
                }
                try await eventually { !start.all.isEmpty }
                group.cancelAll()
            }
        }
        let told = try #require(start.all.first)
        let agent = try #require(told.agent)
        // Both ends share one clock here.
        #expect(agent >= before - min(before, told.uncertainty))
        #expect(agent <= after + told.uncertainty)
        #expect(told.boot <= told.uncertainty)
    }

    @Test("An older agent's start is unknown, and a start before the host's clock began is its zero")
    func unknownStart() {
        let info = AgentInfo(.with { $0.version = "0.0.1" })
        let clock = ClockOffset(asked: 1_000, guest: 500_000, answered: 1_100)
        #expect(AgentStart(info, by: clock).agent == nil)
        #expect(AgentStart(info, by: clock).boot == 0)
        #expect(AgentStart(AgentInfo(.with { $0.agentStartedNs = 499_990 }), by: clock).agent == 1_040)
    }

    @Test("A check asks the agent at once, long before the next heartbeat would")
    func check() async throws {
        let answers = Recorder<Int>()
        try await withServer(ScriptedTables([5001])) { directory in
            let follower = AgentFollower(token: nil, range: .all) {
                try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follower.run { if case .alive = $0 { answers.add(1) } }
                }
                // Ten heartbeats take 50 s, which is more than the wait allows.
                try await eventually {
                    follower.check()
                    return answers.all.count >= 10
                }
                group.cancelAll()
            }
        }
    }

    @Test("The shortest round trip wins, until it is old or contradicted")
    func clockOffset() {
        var best = ClockOffset(asked: 1_000, guest: 500, answered: 1_100)
        #expect(best.hostMinusGuest == 550)
        #expect(best.hostTime(ofGuest: 500) == 1_050)
        best.refine(with: ClockOffset(asked: 2_000, guest: 1_500, answered: 2_400))
        #expect(best.hostMinusGuest == 550)
        // The guest was suspended: its clock stood still.
        best.refine(with: ClockOffset(asked: 5_000_000, guest: 2_000, answered: 5_000_400))
        #expect(best.hostMinusGuest == 4_998_200)
    }
}

/// Ends every stream behind its first table.
private struct OneTable: ListenTableProvider {
    let source = ListenSource(mode: .netlink, push: .tracepoint)
    let pushReason: String? = nil

    func current(in range: PortRange) -> ListenTable {
        ListenTable(revision: 1, source: source, listeners: [])
    }

    func tables(in range: PortRange) -> AsyncStream<ListenTable> {
        AsyncStream { continuation in
            continuation.yield(current(in: range))
            continuation.finish()
        }
    }
}
