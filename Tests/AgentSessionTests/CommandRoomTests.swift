import AgentAPI
import AgentChannel
import AgentSession
import GRPCCore
import Glibc
import Linux
import SwiftProtobuf
import Synchronization
import TestSupport
import Testing

@Suite("Descriptors for commands", .timeLimit(.minutes(1)))
struct CommandRoomTests {
    @Test("More commands than there are descriptors for are refused, and the agent goes on")
    func tooMany() async {
        await #expect(processExitsWith: .success) {
            let (token, folder) = (MachineToken.random(), try TestFolder())
            // The commands go on until somebody writes there, or until it is clear that nobody will.
            let gate = folder.path + "/gate"
            let script = "timeout 40 sh -c 'read line < \(gate)'; exit 0"
            _ = try SystemError.check("mkfifo", mkfifo(gate, 0o600))
            let refusals = Refusals()
            try await withAgent(ScriptedTables(), token: token, showing: token) { agent in
                // The first has the libraries open what they keep.
                #expect(try await Self.exit(of: "true", agent).code == 0)
                var limit = rlimit()
                getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                // Four each while they run: for some fifteen.
                limit.rlim_cur = rlim_t(DescriptorLimit.current - DescriptorLimit.free + 160)
                setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
                let exits = try await withThrowingTaskGroup(of: Rum_V1_ExecExit.self) { group in
                    for _ in 0..<60 {
                        group.addTask {
                            let exit = try await Self.exit(of: script, agent)
                            if exit.code == 126 { refusals.count.add(1, ordering: .relaxed) }
                            return exit
                        }
                    }
                    try await eventually("some are refused") {
                        refusals.count.load(ordering: .relaxed) > 10
                    }
                    let opened = OwnedDescriptor(
                        owning: try SystemError.check("open", open(gate, O_RDWR | O_CLOEXEC)))
                    defer { _ = opened.rawValue }
                    let lines = [UInt8](repeating: UInt8(ascii: "\n"), count: 60)
                    try opened.write(lines)
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                let refused = exits.filter { $0.code == 126 }
                #expect(refused.count < exits.count)
                #expect(refused.count > 10)
                #expect(refused.allSatisfy { $0.failure.contains("descriptors") })
                #expect(exits.count { $0.code == 0 } == exits.count - refused.count)
                // As those have ended there is room again.
                #expect(try await Self.exit(of: "true", agent).code == 0)
            }
            withExtendedLifetime(folder) {}
        }
    }

    private static func exit(of script: String, _ agent: AgentConnection) async throws -> Rum_V1_ExecExit {
        try await agent.exec { writer in
            try await writer.write(.with { $0.start = .with { $0.arguments = ["sh", "-c", script] } })
        } output: { _ in
        }
    }
}

private final class Refusals: Sendable {
    let count = Atomic(0)
}
