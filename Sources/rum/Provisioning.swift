import AgentAPI
import AgentChannel
import AgentSession
import CommandMain
import GRPCCore
import Machine
import SwiftProtobuf
import Synchronization

/// Asks the guest how the scripts of rum.toml are doing.
struct Provisioning: Sendable {
    /// How long a guest that boots, and is slow, may take to tell.
    static let patience = Duration.seconds(20)
    private static let longestLine = 4096

    let machine: RunningMachine

    /// nil when the guest does not tell within a moment, as one that was started by another version of rum.
    func state(timeout: Duration) async -> ProvisionState? {
        let first = FirstLine()
        let succeeded = await withTaskGroup(of: Bool.self) { group in
            group.addTask { await run(ProvisionReport.state) { first.keep($0) } }
            group.addTask {
                try? await Task.sleep(for: timeout)
                return false
            }
            let ended = await group.next() ?? false
            group.cancelAll()
            return ended
        }
        return succeeded ? first.line.flatMap(ProvisionState.init(line:)) : nil
    }

    /// Hands over what the scripts say, line by line, until they have ended.
    func follow(_ tell: @escaping @Sendable (String) -> Void) async {
        _ = await run(ProvisionReport.follow, tell)
    }

    /// Whether the command ended with 0.
    private func run(_ command: [String], _ tell: @escaping @Sendable (String) -> Void) async -> Bool {
        let lines = Mutex(LineSplitter(longest: Self.longestLine))
        let dialer = AgentDialer(address: machine.address)
        let code = try? await AgentConnection.with(dialer, token: machine.token) { agent in
            try await agent.exec { writer in
                try await writer.write(.with { $0.start = .with { $0.arguments = command } })
                try await writer.write(.with { $0.stdinClosed = true })
            } output: { output in
                if case .stdout(let data) = output.output {
                    for line in lines.withLock({ $0.add(data) }) { tell(line) }
                }
            }.code
        }
        if let rest = lines.withLock({ $0.takeRest() }) { tell(rest) }
        return code == 0
    }
}

/// Keeps the first of several lines.
private final class FirstLine: Sendable {
    private let kept = Mutex<String?>(nil)

    func keep(_ line: String) { kept.withLock { $0 = $0 ?? line } }

    var line: String? { kept.withLock { $0 } }
}
