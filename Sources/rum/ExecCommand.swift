import AgentAPI
import AgentChannel
import AgentSession
import ArgumentParser
import CommandMain
import Foundation
import GRPCCore
import Linux
import Machine
import SwiftProtobuf

struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run a command in the guest, as root.",
        usage: "rum exec [<name>] [-c <file>] [-v] -- <command> [<argument> ...]",
        discussion: """
            Standard input, both outputs and the exit code pass through, and so does Ctrl-C. The exit code is 127 \
            when the guest has no such program, and 255 when the guest cannot be reached.
            """)

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    @Argument(parsing: .postTerminator, help: "The command, after --.")
    var command: [String] = []

    func validate() throws {
        if command.isEmpty {
            throw ValidationError("no command: write it after --, as in `rum exec -- uname -a`")
        }
    }

    func run() async throws {
        let machine = try options.machine()
        let status: MachineStatus
        do throws(MachineError) {
            status = try await machine.status()
        } catch {
            throw CommandFailure(error.message, hint: error.hint, status: .unreachable)
        }
        guard let running = status.running else {
            throw CommandFailure(
                "\(status.name) is not running (\(status.state.rawValue))", hint: "start it with `rum up`",
                status: .unreachable)
        }
        if talk.verbose { StandardError.line("rum: agent at \(running.address)") }
        let exit: Rum_V1_ExecExit
        do {
            exit = try await Self.exec(command, on: running)
        } catch let error as RPCError {
            throw Self.unreachable(AgentProblem(error))
        } catch let error as AgentDialError {
            throw Self.unreachable(AgentProblem(error))
        }
        if !exit.failure.isEmpty {
            StandardError.line("error: \(command.first ?? ""): \(exit.failure.printable())")
            StandardError.line(
                "hint: `rum exec -- sh -c 'echo $PATH'` shows where the guest looks for programs")
        }
        if exit.code != 0 { throw ExitCode(exit.code) }
    }

    private static func exec(
        _ command: [String], on running: RunningMachine
    ) async throws -> Rum_V1_ExecExit {
        let dialer = AgentDialer(address: running.address)
        return try await AgentConnection.with(
            token: running.token, firstAnswerWithin: AgentLimits.onlyAnswer
        ) {
            try await dialer.dial(.rpc)
        } _: { agent in
            // Until the agent has answered, Ctrl-C ends this program as it ends any; from here on it is the command's.
            let signals = TerminationSignals.stream()
            return try await agent.exec { writer in
                try await writer.write(.with { $0.start = .with { $0.arguments = command } })
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        for try await bytes in StandardInput.chunks() {
                            try await writer.write(.with { $0.stdin = Data(bytes) })
                        }
                        try await writer.write(.with { $0.stdinClosed = true })
                    }
                    group.addTask {
                        for await number in signals { try await writer.write(.with { $0.signal = number }) }
                    }
                    try await group.waitForAll()
                }
            } output: { output in
                switch output.output {
                case .stdout(let data): try await StandardOutput.bytes(Array(data))
                case .stderr(let data): await StandardError.bytes(Array(data))
                case .exited, nil: break
                }
            }
        }
    }

    private static func unreachable(_ problem: AgentProblem) -> CommandFailure {
        CommandFailure(
            "cannot reach the guest's agent: \(problem)",
            hint: "`rum status` tells more; a guest that boots needs a while", status: .unreachable)
    }
}
