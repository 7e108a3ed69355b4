import AgentChannel
import AgentSession
import Glibc
import Linux
import Ports
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

        func add(_ event: AgentEvent) {
            let word: String? =
                switch event {
                case .connected(_, let delivery): "connected by \(delivery.rawValue)"
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
                group.addTask { await follower.run { log.add($0) } }
                try await eventually { log.last == "5001" }
                tables.publish([5002])
                try await eventually { log.last == "5002" }
                group.cancelAll()
            }
        }
        #expect(log.all.first == "connected by \(alwaysPoll ? "poll" : "stream")")
    }

    @Test("A lost agent is reported, and followed again once it is back")
    func reconnect() async throws {
        let directory = try TestFolder()
        let log = Log()
        let follower = AgentFollower(token: nil, range: .all) {
            try StreamSocket.connect(to: directory.rpcAddress)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await follower.run { log.add($0) } }
            for _ in 0..<2 {
                try await eventually { log.last == "lost" }
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
                    await follower.run { if case .alive = $0 { answers.add(1) } }
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
