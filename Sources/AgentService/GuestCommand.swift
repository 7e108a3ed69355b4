internal import AgentAPI
internal import GRPCCore
internal import Glibc
internal import Linux
internal import Subprocess
internal import SwiftProtobuf
internal import SystemPackage

/// One command that runs in the guest on behalf of `rum exec`.
///
/// The caller's first input names the command; then come standard input, its end, signals and sizes of its terminal, in
/// any number. What the command writes goes back as it comes, and its end is the last output. Three tasks share the
/// work: one reads the caller's inputs, one feeds standard input to the command at the command's pace, one runs the
/// command. So a signal passes input that the command has not read yet.
enum GuestCommand {
    /// What this agent tells as `exec_version`.
    static let version: UInt32 = 1

    /// Runs the command that the first input names, relays its streams and reports how it ended.
    ///
    /// The command leads a process group of its own, on a terminal a session. When the caller goes away the group gets
    /// SIGTERM, or SIGHUP on a terminal, and SIGKILL two seconds later.
    ///
    /// - Parameter switcher: the path of a program that begins with `UserSwitch.runIfAsked()`.
    static func run(
        input: RPCAsyncSequence<Rum_V1_ExecInput, any Error>, output: RPCWriter<Rum_V1_ExecOutput>,
        switcher: String
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
                    let exit = try await outcome(
                        of: start, running: running.continuation, output: output, switcher: switcher)
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
            case .signal(let number): command.signal(number)
            case .resize(let size): command.terminal?.resize(to: GuestTerminal.Size(size))
            case .start, nil: break
            }
        }
    }

    private static func outcome(
        of start: Rum_V1_ExecStart, running: AsyncStream<RunningCommand>.Continuation,
        output: RPCWriter<Rum_V1_ExecOutput>, switcher: String
    ) async throws -> Rum_V1_ExecExit {
        var user: GuestUser?
        if !start.user.isEmpty {
            guard let found = try await awaited(start.user) else {
                return .with {
                    $0.code = 126
                    $0.failure = "the guest has no user \(start.user)"
                }
            }
            user = found
        }
        let arguments = start.loginShell ? [(user ?? .numbered(getuid())).shell, "-l"] : start.arguments
        guard let program = arguments.first, !program.isEmpty else {
            throw invalid("a command needs at least one argument")
        }
        let directory = start.directory.isEmpty ? existing(user?.home) ?? "/" : start.directory
        let environment = OrdinaryProcess.environment(of: user, adding: start.environment)
        guard let place = await CommandRoom.ofAgent.enter() else {
            return .with {
                $0.code = 126
                $0.failure =
                    "the agent, which may have \(DescriptorLimit.current) descriptors open, has too few left for a command"
            }
        }
        do {
            if let exit = try await obstacle(to: program, in: directory, environment) { return exit }
            let terminal =
                start.hasTerminal
                ? try GuestTerminal(GuestTerminal.Size(start.terminal), owner: user?.uid) : nil
            var (program, words) = (
                OrdinaryProcess.shell,
                OrdinaryProcess.shellArguments(for: arguments, terminal: terminal?.path)
            )
            // Only root may become another user.
            if let user, geteuid() == 0, user.uid != 0 {
                words = UserSwitch.arguments(for: user, program: program, words)
                program = switcher
            }
            let configuration = Configuration(
                executable: .path(FilePath(program)), arguments: Arguments(words),
                environment: environment, workingDirectory: FilePath(directory),
                platformOptions: options(hasTerminal: terminal != nil))
            let relay = CommandRelay(configuration: configuration, output: output) { command in
                place.leave()
                running.yield(command)
                try await output.write(.with { $0.started = true })
            }
            let status = if let terminal { try await relay.run(on: terminal) } else { try await relay.run() }
            return .with { $0.code = code(of: status) }
        } catch let error as SubprocessError {
            return .with {
                // The shell's convention: 127 not found, 126 found but not started.
                $0.code = error.code == .executableNotFound ? 127 : 126
                $0.failure = "\(error)"
            }
        } catch let error as SystemError {
            return .with {
                $0.code = 126
                $0.failure = "\(error)"
            }
        }
    }

    /// The user called `name`. In a guest that boots it may be about to be made.
    private static func awaited(_ name: String) async throws -> GuestUser? {
        let deadline = ContinuousClock.now + CommandLimits.userPatience
        while true {
            if let user = GuestUser.named(name) { return user }
            // A guest that is only an initrd may have no passwd file.
            if name == "root" { return .numbered(0) }
            // CLOCK_MONOTONIC begins at boot.
            let boots = Duration.nanoseconds(SystemClock.monotonic) < CommandLimits.boot
            guard boots, ContinuousClock.now < deadline else { return nil }
            try await Task.sleep(for: .milliseconds(200))
        }
    }

    private static func existing(_ folder: String?) -> String? {
        folder.flatMap { access($0, X_OK) == 0 ? $0 : nil }
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

    private static func options(hasTerminal: Bool) -> PlatformOptions {
        var options = PlatformOptions()
        if hasTerminal {
            options.createSession = true
        } else {
            options.processGroupID = 0
        }
        options.teardownSequence = [
            .send(
                signal: hasTerminal ? .terminalClosed : .terminate, toProcessGroup: true,
                allowedDurationToNextStep: .seconds(2)),
            .send(signal: .kill, toProcessGroup: true, allowedDurationToNextStep: .zero),
        ]
        return options
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

/// Times of commands.
enum CommandLimits {
    /// A guest that booted this recently may be about to make its user.
    static let boot = Duration.seconds(600)
    /// How long a command waits for that.
    static let userPatience = Duration.seconds(60)
}

extension GuestTerminal.Size {
    init(_ message: Rum_V1_TerminalSize) {
        self.init(columns: UInt16(clamping: message.columns), rows: UInt16(clamping: message.rows))
    }
}
