internal import AgentAPI
internal import FoundationEssentials
internal import GRPCCore
internal import Glibc
internal import Linux
internal import Subprocess
internal import SwiftProtobuf
internal import SystemPackage

/// What reaches a started command.
struct RunningCommand: Sendable {
    let group: ProcessIdentifier
    let input: CommandInput
    /// nil for a command with pipes.
    var terminal: GuestTerminal?

    /// A command that has ended is no error: its exit is on its way to the caller.
    func signal(_ number: Int32) {
        if terminal?.signal(number) != true { _ = kill(-group.value, number) }
    }
}

/// Runs one configured command to its end and carries its streams.
struct CommandRelay: Sendable {
    let configuration: Configuration
    let output: RPCWriter<Rum_V1_ExecOutput>
    /// Called once it runs.
    let started: @Sendable (RunningCommand) async throws -> Void

    /// Runs it with pipes.
    func run() async throws -> TerminationStatus {
        try await StartGate.run { gate in
            try await Subprocess.run(
                configuration, input: .inputWriter, output: .sequence, error: .sequence
            ) { execution in
                gate.started()
                let input = CommandInput()
                defer { input.discard() }
                try await started(RunningCommand(group: execution.processIdentifier, input: input))
                try await relay(execution, input: input)
            }.terminationStatus
        }
    }

    /// Passes both outputs on and feeds the input until the outputs have ended.
    private func relay(
        _ execution: Execution<CustomWriteInput, SequenceOutput, SequenceOutput>, input: CommandInput
    ) async throws {
        let writer = execution.standardInputWriter
        let (standardOutput, standardError) = (execution.standardOutput, execution.standardError)
        try await withThrowingTaskGroup(of: Void.self) { outer in
            outer.addTask {
                // What fails is that the command has closed its input or ended.
                await input.feed { (try? await writer.write($0)) != nil }
                _ = try? await writer.finish()
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    for try await buffer in standardOutput {
                        let data = buffer.withUnsafeBytes { Data($0) }
                        try await output.write(.with { $0.stdout = data })
                    }
                }
                group.addTask {
                    for try await buffer in standardError {
                        let data = buffer.withUnsafeBytes { Data($0) }
                        try await output.write(.with { $0.stderr = data })
                    }
                }
                while try await group.next() != nil {}
            }
            outer.cancelAll()
        }
    }

    /// Runs it on a terminal, until it ends and what it has written is passed on.
    func run(on terminal: GuestTerminal) async throws -> TerminationStatus {
        let input = CommandInput()
        return try await withThrowingTaskGroup(of: TerminationStatus?.self) { group in
            group.addTask {
                while let bytes = await terminal.read() {
                    try await output.write(.with { $0.stdout = Data(bytes) })
                }
                return nil
            }
            group.addTask {
                await input.feed { await terminal.write($0) }
                await terminal.writeEnd()
                return nil
            }
            group.addTask {
                defer {
                    terminal.end()
                    input.end()
                }
                return try await spawn(on: terminal, input)
            }
            var status: TerminationStatus?
            while let result = try await group.next() { status = status ?? result }
            guard let status else { throw CancellationError() }
            return status
        }
    }

    private func spawn(on terminal: GuestTerminal, _ input: CommandInput) async throws -> TerminationStatus {
        try await StartGate.run { gate in
            let side = FileDescriptor(rawValue: terminal.takeSlave())
            return try await Subprocess.run(
                configuration, input: .fileDescriptor(side, closeAfterSpawningProcess: true),
                output: .fileDescriptor(side, closeAfterSpawningProcess: false),
                error: .fileDescriptor(side, closeAfterSpawningProcess: false)
            ) { execution in
                gate.started()
                try await started(
                    RunningCommand(group: execution.processIdentifier, input: input, terminal: terminal))
            }.terminationStatus
        }
    }
}
