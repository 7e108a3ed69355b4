package import AgentAPI
internal import FoundationEssentials
package import GRPCCore
internal import Glibc
internal import Subprocess
internal import SwiftProtobuf
internal import SystemPackage

/// One command that runs in the guest on behalf of `rum exec`.
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

    /// Feeds the caller's inputs to the command, at the command's pace.
    private static func passOn(
        _ input: RPCAsyncSequence<Rum_V1_ExecInput, any Error>,
        starts: AsyncStream<Rum_V1_ExecStart>.Continuation, running: AsyncStream<RunningCommand>
    ) async throws {
        var command: RunningCommand?
        for try await message in input {
            if case .start(let start) = message.input {
                guard command == nil else { throw invalid("a command is already running") }
                starts.yield(start)
                for await started in running {
                    command = started
                    break
                }
                // It could not be started, and its caller is being told so.
                guard command != nil else { return }
                continue
            }
            guard let command else { throw invalid("the first input must be a command to start") }
            await command.accept(message)
        }
        await command?.closeInput()
    }

    private static func outcome(
        of start: Rum_V1_ExecStart, running: AsyncStream<RunningCommand>.Continuation,
        output: RPCWriter<Rum_V1_ExecOutput>
    ) async throws -> Rum_V1_ExecExit {
        guard let program = start.arguments.first, !program.isEmpty else {
            throw invalid("a command needs at least one argument")
        }
        do {
            let result = try await Subprocess.run(
                configuration(of: start, program: program), input: .inputWriter, output: .sequence,
                error: .sequence
            ) { execution in
                running.yield(
                    RunningCommand(group: execution.processIdentifier, input: execution.standardInputWriter))
                try await relay(execution.standardOutput, execution.standardError, to: output)
            }
            return .with { $0.code = code(of: result.terminationStatus) }
        } catch let error as SubprocessError {
            return .with {
                // The shell's convention: 127 not found, 126 found but not started.
                $0.code = error.code == .executableNotFound ? 127 : 126
                $0.failure = "\(error)"
            }
        }
    }

    private static func configuration(of start: Rum_V1_ExecStart, program: String) -> Configuration {
        var options = PlatformOptions()
        options.processGroupID = 0
        options.teardownSequence = [
            .send(signal: .terminate, toProcessGroup: true, allowedDurationToNextStep: .seconds(2)),
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .zero),
        ]
        var environment: [Environment.Key: String?] = [:]
        for (name, value) in start.environment { environment[Environment.Key(stringLiteral: name)] = value }
        return Configuration(
            executable: program.contains("/") ? .path(FilePath(program)) : .name(program),
            arguments: Arguments(Array(start.arguments.dropFirst())),
            environment: .inherit.updating(environment),
            workingDirectory: FilePath(start.directory.isEmpty ? "/" : start.directory),
            platformOptions: options)
    }

    private static func relay(
        _ standardOutput: SubprocessOutputSequence, _ standardError: SubprocessOutputSequence,
        to output: RPCWriter<Rum_V1_ExecOutput>
    ) async throws {
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

/// A started command's ears.
private struct RunningCommand: Sendable {
    let group: ProcessIdentifier
    let input: StandardInputWriter

    /// A command that no longer reads or lives is no error here: its exit is on its way to the caller.
    func accept(_ message: Rum_V1_ExecInput) async {
        switch message.input {
        case .stdin(let data): _ = try? await input.write(Array(data))
        case .stdinClosed: await closeInput()
        case .signal(let number): _ = kill(-group.value, number)
        case .start, nil: break
        }
    }

    func closeInput() async { _ = try? await input.finish() }
}
