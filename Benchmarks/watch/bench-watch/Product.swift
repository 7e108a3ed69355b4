import AgentChannel
import AgentSession
import Glibc
import Linux
import LiveKernel
import Ports
import Synchronization

/// The whole agent in a guest's namespace, with one follower in a host's: what a user of rum runs.
final class Product {
    let agent: Child
    let follower: Child
    private let directory: String

    /// Starts both, and returns when the follower has the first table.
    init(agent program: String, in guest: NetworkNamespace) async throws {
        directory = "/tmp/bench-watch.\(getpid())"
        mkdir(directory, 0o700)
        agent = try await Child([program, "--mode=netlink", "--listen", "unix:\(directory)"], in: guest)
        let deadline = Measure.now + 10_000_000_000
        while access("\(directory)/2223.sock", F_OK) != 0, Measure.now < deadline { usleep(1000) }
        follower = try await Child(
            [CommandLine.arguments[0], "follow", directory], in: try await NetworkNamespace())
        guard follower.wait(for: { $0.hasPrefix("ready ") && $0 != "ready poll" }) else {
            throw SystemError(code: ETIMEDOUT, operation: "the agent did not report from events")
        }
        // The reports of listeners that are there already are no samples.
        usleep(200_000)
        _ = follower.takeLines()
    }

    func end() {
        follower.end()
        agent.end()
        for name in ["2222.sock", "2223.sock"] { unlink("\(directory)/\(name)") }
        rmdir(directory)
    }

    /// The follower's process: prints `ready PUSH`, then each change as a candidate does.
    static func follow(_ directory: String) async throws {
        let known = Mutex<Set<UInt16>>([])
        let dialer = AgentDialer(address: .unix(directory: directory))
        let follower = AgentFollower(
            token: nil, range: .all, feed: { try await dialer.dial(TablePreamble(token: .none, range: $0)) },
            dial: { try await dialer.dial(.rpc) })
        try await follower.run { event in
            switch event {
            case .table(let table, _):
                known.withLock { known in
                    if known.isEmpty { Candidate.say("ready \(table.source.push.rawValue)") }
                    Candidate.report(Set(table.ports.map(\.rawValue)), &known)
                }
            case .lost(let problem): Candidate.say("lost \(problem)")
            default: break
            }
        }
    }
}
