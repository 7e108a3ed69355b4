package import AgentAPI
internal import FoundationEssentials
package import GRPCCore
internal import Glibc
internal import Linux
internal import Subprocess
internal import SwiftProtobuf
internal import SystemPackage

/// One command that runs in the guest on behalf of `rum exec`.
///
/// The caller's first input names the command; then come standard input, its end, and signals, in any number. What
/// the command writes goes back as it comes, and its end is the last output. Three tasks share the work: one reads the
/// caller's inputs, one feeds standard input to the command at the command's pace, one runs the command. So a signal
/// passes input that the command has not read yet.
package enum GuestCommand {
    /// Runs the command that the first input names, relays its streams and reports how it ended.
    ///
    /// The command leads a process group of its own. When the caller goes away the group gets SIGTERM, then
    /// SIGKILL two seconds later.
    package static func run(
        input: RPCAsyncSequence<Rum_V1_ExecInput, any Error>, output: RPCWriter<Rum_V1_ExecOutput>
    ) async throws {
        let starts = AsyncStream<Rum_V1_ExecStart>.makeStream(bufferingPolicy: .bufferingOldest(1))
        let running = AsyncStream<RunningCommand>.makeStream(bufferingPolicy: .bufferingOldest(1))
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                defer { starts.continuation.finish() }
                try await passOn(input, starts: starts.continuation, running: running.stream)
                return false
            }
            group.addTask {
                defer { running.continuation.finish() }
                for await start in starts.stream {
                    let exit = try await outcome(of: start, running: running.continuation, output: output)
                    try await output.write(.with { $0.exited = exit })
                    return true
                }
                throw invalid("the first input must be a command to start")
            }
            // The command's end is the end; the end of the input alone is not.
            while let isOver = try await group.next(), !isOver {}
            group.cancelAll()
        }
    }

    /// Gives the caller's inputs to the command: signals at once, standard input in the command's own time.
    private static func passOn(
        _ input: RPCAsyncSequence<Rum_V1_ExecInput, any Error>,
        starts: AsyncStream<Rum_V1_ExecStart>.Continuation, running: AsyncStream<RunningCommand>
    ) async throws {
        var command: RunningCommand?
        defer { command?.input.end() }
        for try await message in input {
            if case .start(let start) = message.input {
                guard command == nil else { throw invalid("a command is already running") }
                starts.yield(start)
                for await started in running {
                    command = started
                    break
                }
                // It could not be started, and its caller learns that from the outcome.
                guard command != nil else { return }
                continue
            }
            guard let command else { throw invalid("the first input must be a command to start") }
            switch message.input {
            case .stdin(let data): await command.input.put(Array(data))
            case .stdinClosed: command.input.end()
            // A command that has ended is no error: its exit is on its way to the caller.
            case .signal(let number): _ = kill(-command.group.value, number)
            case .start, nil: break
            }
        }
    }

    private static func outcome(
        of start: Rum_V1_ExecStart, running: AsyncStream<RunningCommand>.Continuation,
        output: RPCWriter<Rum_V1_ExecOutput>
    ) async throws -> Rum_V1_ExecExit {
        guard let program = start.arguments.first, !program.isEmpty else {
            throw invalid("a command needs at least one argument")
        }
        let directory = start.directory.isEmpty ? "/" : start.directory
        let environment = OrdinaryProcess.environment(adding: start.environment)
        do {
            if let exit = try await obstacle(to: program, in: directory, environment) { return exit }
            let configuration = Configuration(
                executable: .path(FilePath(OrdinaryProcess.shell)),
                arguments: Arguments(OrdinaryProcess.shellArguments(for: start.arguments)),
                environment: environment, workingDirectory: FilePath(directory), platformOptions: options)
            let status = try await StartGate.run { gate in
                try await Subprocess.run(
                    configuration, input: .inputWriter, output: .sequence, error: .sequence
                ) { execution in
                    gate.started()
                    let input = CommandInput()
                    defer { input.end() }
                    running.yield(RunningCommand(group: execution.processIdentifier, input: input))
                    try await relay(execution, input: input, to: output)
                }.terminationStatus
            }
            return .with { $0.code = code(of: status) }
        } catch let error as SubprocessError {
            return .with {
                // The shell's convention: 127 not found, 126 found but not started.
                $0.code = error.code == .executableNotFound ? 127 : 126
                $0.failure = "\(error)"
            }
        }
    }

    /// Why the program can't be started, in the shell's codes; nil when it is there. The shell that starts it would
    /// say so on the command's standard error only.
    private static func obstacle(
        to program: String, in directory: String, _ environment: Environment
    ) async throws(SubprocessError) -> Rum_V1_ExecExit? {
        guard program.contains("/") else {
            _ = try await Executable.name(program).resolveExecutablePath(in: environment)
            return nil
        }
        let path = program.hasPrefix("/") ? program : "\(directory)/\(program)"
        guard access(path, X_OK) != 0 else { return nil }
        let error = SystemError.current(path)
        return .with {
            $0.code = error.code == ENOENT || error.code == ENOTDIR ? 127 : 126
            $0.failure = "\(error)"
        }
    }

    private static var options: PlatformOptions {
        var options = PlatformOptions()
        options.processGroupID = 0
        options.teardownSequence = [
            .send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: .seconds(2)),
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .zero),
        ]
        return options
    }

    /// Passes both outputs on and feeds the input until the outputs have ended.
    private static func relay(
        _ execution: Execution<CustomWriteInput, SequenceOutput, SequenceOutput>, input: CommandInput,
        to output: RPCWriter<Rum_V1_ExecOutput>
    ) async throws {
        let writer = execution.standardInputWriter
        let (standardOutput, standardError) = (execution.standardOutput, execution.standardError)
        try await withThrowingTaskGroup(of: Void.self) { outer in
            outer.addTask { await input.feed(to: writer) }
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

    private static func code(of status: TerminationStatus) -> Int32 {
        switch status {
        case .exited(let code): code
        case .signaled(let signal): 128 + signal
        }
    }

    private static func invalid(_ message: String) -> RPCError {
        RPCError(code: .invalidArgument, message: message)
    }
}

/// What reaches a started command.
private struct RunningCommand: Sendable {
    let group: ProcessIdentifier
    let input: CommandInput
}
