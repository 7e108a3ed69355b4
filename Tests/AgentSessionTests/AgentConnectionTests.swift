import AgentAPI
import AgentChannel
import AgentSession
import Foundation
import GRPCCore
import Linux
import Ports
import SwiftProtobuf
import TestSupport
import Testing

@Suite("A connection to the agent's service", .timeLimit(.minutes(1)))
struct AgentConnectionTests {
    @Test("Ping tells who answers, and what time it is there")
    func ping() async throws {
        let (info, offset) = try await withAgent(ScriptedTables()) { try await $0.ping(timeout: .seconds(5)) }
        #expect(info.instanceID == "one")
        #expect(info.version == rumVersion)
        #expect(info.source.push == .tracepoint)
        #expect(info.forwardVersion == 1)
        // Both ends share one clock here.
        #expect(offset.hostMinusGuest.magnitude <= offset.uncertainty)
    }

    @Test("Who connects once waits for an agent that needs longer than one that is asked again may take")
    func slowAnswer() async throws {
        let version = try await withServer(SlowAgent()) { directory in
            let dialer = AgentDialer(address: .unix(directory: directory.path))
            return try await AgentConnection.with(dialer, token: nil) { $0.info.version }
        }
        #expect(version == "slow")
    }

    @Test("ListeningPorts answers with the part of the table in the range")
    func unary() async throws {
        let table = try await withAgent(ScriptedTables([4999, 5001, 6001])) {
            try await $0.listeningPorts(try #require(PortRange(text: "5000-6000")), timeout: .seconds(5))
        }
        #expect(table.ports.map(\.rawValue) == [5001])
    }

    @Test("The stream starts with the current table and brings each newer one; leaving ends it on both sides")
    func stream() async throws {
        let tables = ScriptedTables([5001])
        let seen = Recorder<[UInt16]>()
        try await withServer(tables) { directory in
            try await withAgent(in: directory) { agent in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await agent.watchListeningPorts(.all) { seen.add($0.ports.map(\.rawValue)) }
                    }
                    try await eventually { seen.all.last == [5001] }
                    tables.publish([5001, 5002])
                    try await eventually { seen.all.last == [5001, 5002] }
                    group.cancelAll()
                }
            }
            try await eventually { tables.readers == 0 }
        }
    }

    @Test("A table is taken on the thread of the connection's event loop, and what a command says is not")
    func threads() async throws {
        let tables = Recorder<String>()
        let output = Recorder<String>()
        try await withServer(ScriptedTables([5001])) { directory in
            try await withAgent(in: directory) { agent in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        try await agent.watchListeningPorts(.all) { _ in tables.add(Self.thread) }
                    }
                    try await eventually { !tables.all.isEmpty }
                    group.cancelAll()
                }
            }
        }
        _ = try await withAgentThatRunsCommands { agent in
            try await agent.exec { writer in
                try await writer.write(Self.start("sh", "-c", "echo yes"))
            } output: { _ in
                output.add(Self.thread)
            }
        }
        #expect(tables.all.allSatisfy { $0.hasPrefix("NIO") })
        #expect(!output.all.isEmpty)
        #expect(output.all.allSatisfy { !$0.hasPrefix("NIO") })
    }

    /// The name of the calling thread.
    private static var thread: String { (try? SmallFile.text(of: "/proc/thread-self/comm")) ?? "" }

    @Test("Without the right token every call is refused", arguments: [MachineToken?.none, .random()])
    func wrongToken(shown: MachineToken?) async throws {
        let error = await #expect(throws: RPCError.self) {
            try await withAgent(ScriptedTables(), token: .random(), showing: shown) { _ in }
        }
        #expect(error?.code == .unauthenticated)
    }

    @Test("With the right token calls are served")
    func rightToken() async throws {
        let token = MachineToken.random()
        let info = try await withAgent(ScriptedTables(), token: token, showing: token) { $0.info }
        #expect(info.hostname == "guest")
    }

    @Test("A command's input, both outputs and exit code pass through")
    func exec() async throws {
        let said = Recorder<Rum_V1_ExecOutput>()
        let exit = try await withAgentThatRunsCommands { agent in
            try await agent.exec { writer in
                try await writer.write(Self.start("sh", "-c", "cat; echo no >&2; exit 7"))
                try await writer.write(.with { $0.stdin = Data("yes\n".utf8) })
                try await writer.write(.with { $0.stdinClosed = true })
            } output: {
                said.add($0)
            }
        }
        #expect(exit.code == 7)
        #expect(said.all.map(\.stdout).reduce(Data(), +) == Data("yes\n".utf8))
        #expect(said.all.map(\.stderr).reduce(Data(), +) == Data("no\n".utf8))
    }

    @Test("A program that does not exist is exit code 127 with a reason")
    func execNotFound() async throws {
        let exit = try await withAgentThatRunsCommands { agent in
            try await agent.exec { writer in
                try await writer.write(Self.start("no-such-program-here"))
            } output: { _ in
            }
        }
        #expect(exit.code == 127)
        #expect(exit.failure.contains("no-such-program-here"))
    }

    @Test("A signal reaches the command")
    func execSignal() async throws {
        let exit = try await withAgentThatRunsCommands { agent in
            let ready = AsyncStream<Void>.makeStream()
            return try await agent.exec { writer in
                try await writer.write(Self.start("sh", "-c", "echo up; exec sleep 600"))
                for await _ in ready.stream { break }
                try await writer.write(.with { $0.signal = 15 })
            } output: { _ in
                ready.continuation.yield()
            }
        }
        #expect(exit.code == 128 + 15)
    }

    @Test("Input that comes before a command is refused")
    func execWithoutStart() async throws {
        try await withAgentThatRunsCommands { agent in
            let error = await #expect(throws: RPCError.self) {
                try await agent.exec { writer in
                    try await writer.write(.with { $0.stdinClosed = true })
                } output: { _ in
                }
            }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test("A signal reaches a command that does not read what is waiting on its standard input")
    func signalPastInput() async throws {
        let exit = try await withAgentThatRunsCommands { agent in
            let ready = AsyncStream<Void>.makeStream()
            return try await agent.exec { writer in
                try await writer.write(Self.start("sh", "-c", "echo up; exec sleep 600"))
                for await _ in ready.stream { break }
                for _ in 0..<64 { try await writer.write(.with { $0.stdin = Data(count: 16 << 10) }) }
                try await writer.write(.with { $0.signal = 15 })
            } output: { _ in
                ready.continuation.yield()
            }
        }
        #expect(exit.code == 128 + 15)
    }

    @Test("Input beyond what may wait reaches a command that is slow to read, whole and in order")
    func slowReader() async throws {
        let said = Recorder<Rum_V1_ExecOutput>()
        let exit = try await withAgentThatRunsCommands { agent in
            try await agent.exec { writer in
                try await writer.write(Self.start("sh", "-c", "sleep 0.3; wc -c; echo end"))
                for _ in 0..<96 { try await writer.write(.with { $0.stdin = Data(count: 64 << 10) }) }
                try await writer.write(.with { $0.stdinClosed = true })
            } output: {
                said.add($0)
            }
        }
        #expect(exit.code == 0)
        #expect(String(decoding: said.all.map(\.stdout).reduce(Data(), +), as: UTF8.self) == "6291456\nend\n")
    }

    @Test("A command is an ordinary process with a login's environment, whatever the agent is")
    func ordinaryProcess() async throws {
        // As in the agent: an unlimited number of descriptors and an OOM score that is not 0. A higher one, since a lower
        // one asks for CAP_SYS_RESOURCE.
        DescriptorLimit.raise()
        try "500".write(toFile: "/proc/self/oom_score_adj", atomically: false, encoding: .utf8)
        defer { try? "0".write(toFile: "/proc/self/oom_score_adj", atomically: false, encoding: .utf8) }
        let before = umask(0o077)
        defer { umask(before) }
        let said = Recorder<Rum_V1_ExecOutput>()
        let script =
            "cat /proc/self/oom_score_adj; ulimit -S -n; umask; "
            + #"for value in "$HOME" "$USER" "$SHELL" "$PATH"; do test -n "$value" && echo set; done"#
        let exit = try await withAgentThatRunsCommands { agent in
            try await agent.exec { writer in
                try await writer.write(Self.start("sh", "-c", script))
            } output: {
                said.add($0)
            }
        }
        #expect(exit.code == 0)
        let text = String(decoding: said.all.map(\.stdout).reduce(Data(), +), as: UTF8.self)
        #expect(text == "0\n1024\n0022\nset\nset\nset\nset\n")
    }

    @Test("Without a token no command is run, and the reason is told; the rest is served")
    func execWithoutToken() async throws {
        try await withAgent(ScriptedTables([5001])) { agent in
            let error = await #expect(throws: RPCError.self) {
                try await agent.exec { writer in
                    try await writer.write(Self.start("true"))
                } output: { _ in
                }
            }
            #expect(error?.code == .failedPrecondition)
            #expect(error?.message.contains("--token-file") == true)
            let table = try await agent.listeningPorts(.all, timeout: .seconds(5))
            #expect(table.ports.count == 1)
        }
    }

    private func withAgentThatRunsCommands<Result: Sendable>(
        _ body: @escaping @Sendable (AgentConnection) async throws -> Result
    ) async throws -> Result {
        let token = MachineToken.random()
        return try await withAgent(ScriptedTables(), token: token, showing: token, body)
    }

    private static func start(_ arguments: String...) -> Rum_V1_ExecInput {
        .with { $0.start = .with { $0.arguments = arguments } }
    }
}

/// Takes longer for its first answer than `AgentLimits.firstAnswer`, as on a guest that boots.
private struct SlowAgent: RegistrableRPCService {
    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.answerPing {
            try await Task.sleep(for: AgentLimits.firstAnswer + .milliseconds(300))
            return .with { $0.version = "slow" }
        }
    }
}
