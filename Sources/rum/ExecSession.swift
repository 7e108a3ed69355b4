import AgentAPI
import AgentChannel
import AgentSession
import ArgumentParser
import CommandMain
import Dispatch
import Foundation
import GRPCCore
import Linux
import Machine
import SwiftProtobuf
import Synchronization

/// What to run in a guest.
struct ExecRequest {
    var arguments: [String] = []
    var isRoot: Bool
    /// Empty for the user's home.
    var directory: String
    var environment: [String: String] = [:]
    var isLoginShell = false
    var hasTerminal = false

    init(isRoot: Bool, directory: String) {
        self.isRoot = isRoot
        self.directory = directory
    }
}

/// Runs commands in a machine's guest through its agent.
struct ExecSession {
    let machine: VirtualMachine
    let verbose: Bool

    /// How long a command may take to start before the user learns why.
    private static let noticeable = Duration.seconds(1)

    /// Runs the command to its end, with this process's streams and terminal.
    ///
    /// - Throws: `ExitCode` with the command's own code unless that is 0.
    func run(_ request: ExecRequest) async throws {
        let running = try await runningMachine()
        if verbose { StandardError.line("rum: agent at \(running.address)") }
        let exit: Rum_V1_ExecExit
        do {
            exit = try await call(request, on: running)
        } catch let error as RPCError where error.code == .failedPrecondition {
            throw CommandFailure(
                error.message, hint: "`rum ssh` does without it, where the guest has sshd",
                status: .unreachable)
        } catch let error as RPCError {
            throw CommandFailure.agentUnreachable(AgentProblem(error))
        } catch let error as AgentDialError {
            throw CommandFailure.agentUnreachable(AgentProblem(error))
        }
        if !exit.failure.isEmpty {
            let program = request.isLoginShell ? "" : "\(request.arguments.first ?? ""): "
            StandardError.line("error: \((program + exit.failure).printable())")
            StandardError.line("hint: \(hint(after: exit, request))")
        }
        if exit.code != 0 { throw ExitCode(exit.code) }
    }

    /// How to reach the machine's agent.
    func runningMachine() async throws(CommandFailure) -> RunningMachine {
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
        return running
    }

    private func hint(after exit: Rum_V1_ExecExit, _ request: ExecRequest) -> String {
        if exit.failure.contains("has no user") {
            return """
                cloud-init makes the user of ssh.user at a machine's first boot; `--root` runs it as root, and \
                `rum up --reset` starts from a fresh disk
                """
        }
        if exit.code == 127 {
            return "`rum exec -- sh -c 'echo $PATH'` shows where the guest looks for programs"
        }
        return "`rum exec -w /` starts in another folder, `rum exec --root` as root"
    }

    private func call(_ request: ExecRequest, on running: RunningMachine) async throws -> Rum_V1_ExecExit {
        let user = request.isRoot ? "root" : machine.guestUser
        let dialer = AgentDialer(address: running.address)
        return try await AgentConnection.with(dialer, token: running.token) { agent in
            let start = try Self.start(request, as: user, by: agent.info)
            // Until the agent has answered, Ctrl-C ends this program as it ends any; from here on it is the command's.
            let signals = TerminationSignals.stream()
            let terminal = request.hasTerminal ? ExecTerminal() : nil
            defer { terminal?.restore() }
            return try await Self.call(agent, start, terminal, signals)
        }
    }

    /// The request in the words of an agent; older ones know neither users nor terminals.
    private static func start(
        _ request: ExecRequest, as user: String, by agent: AgentInfo
    ) throws(CommandFailure) -> Rum_V1_ExecStart {
        var start = Rum_V1_ExecStart()
        start.arguments = request.arguments
        start.environment = request.environment
        start.directory = request.directory
        guard agent.execVersion == 0 else {
            start.user = user
            start.loginShell = request.isLoginShell
            if request.hasTerminal {
                start.terminal = ExecTerminal.size
                let own = ProcessInfo.processInfo.environment["TERM"] ?? ""
                start.environment["TERM"] = request.environment["TERM"] ?? (own.isEmpty ? "xterm" : own)
            }
            return start
        }
        guard user == "root", !request.hasTerminal, !request.isLoginShell else {
            throw CommandFailure(
                "the guest's agent \(agent.version) is older than this rum: it runs commands as root only, without a terminal",
                hint:
                    "`rum down`, then `rum up` gives the guest the newest agent; `rum exec --root -T` works at once",
                status: .unreachable)
        }
        return start
    }

    private static func call(
        _ agent: AgentConnection, _ start: Rum_V1_ExecStart, _ terminal: ExecTerminal?,
        _ signals: AsyncStream<Int32>
    ) async throws -> Rum_V1_ExecExit {
        let news = AsyncStream<Rum_V1_ExecInput>.makeStream()
        let leaving = AsyncStream<Void>.makeStream()
        let hasStarted = StartedFlag(agent.info.execVersion == 0)
        return try await withThrowingTaskGroup(of: Rum_V1_ExecExit?.self) { group in
            group.addTask {
                try await agent.exec { writer in
                    try await writer.write(.with { $0.start = start })
                    try await Self.feed(
                        writer, news.stream, leaving: terminal == nil ? nil : leaving.continuation)
                } output: { output in
                    switch output.output {
                    case .stdout(let data): try await StandardOutput.bytes(Array(data))
                    case .stderr(let data): await StandardError.bytes(Array(data))
                    case .started: hasStarted.set()
                    case .exited, nil: break
                    }
                }
            }
            group.addTask {
                for await number in signals {
                    // On a terminal Ctrl-C is typed like any key. What comes as a signal then is meant for this program.
                    if let terminal, number != SIGINT { throw leave(terminal, ending: 128 + number) }
                    news.continuation.yield(.with { $0.signal = number })
                }
                return nil
            }
            group.addTask {
                for await _ in leaving.stream {
                    guard let terminal else { continue }
                    StandardError.line("\r\nrum: left the command; `rum status` tells how the guest is")
                    throw leave(terminal, ending: ExitStatus.unreachable.rawValue)
                }
                return nil
            }
            group.addTask {
                guard let terminal else { return nil }
                for await size in terminal.sizes() { news.continuation.yield(.with { $0.resize = size }) }
                return nil
            }
            group.addTask {
                try await Task.sleep(for: noticeable)
                if !hasStarted.isSet {
                    StandardError.text(
                        "rum: waiting for the guest to make the user \(start.user.printable())"
                            + (terminal == nil ? "\n" : "\r\n"))
                }
                return nil
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }

    /// Sends standard input and what else there is until the call ends.
    private static func feed(
        _ writer: RPCWriter<Rum_V1_ExecInput>, _ news: AsyncStream<Rum_V1_ExecInput>,
        leaving: AsyncStream<Void>.Continuation?
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                var escape = ExecEscape()
                for try await typed in StandardInput.chunks() {
                    var (bytes, leaves) = (typed, false)
                    if leaving != nil { (bytes, leaves) = escape.filter(typed) }
                    if leaves { leaving?.yield() }
                    if !bytes.isEmpty { try await writer.write(.with { $0.stdin = Data(bytes) }) }
                }
                try await writer.write(.with { $0.stdinClosed = true })
            }
            group.addTask { for await input in news { try await writer.write(input) } }
            try await group.waitForAll()
        }
    }

    /// Gives the terminal back, and makes sure that this process ends: a call to a guest that is stuck does not end in
    /// order.
    private static func leave(_ terminal: ExecTerminal, ending code: Int32) -> ExitCode {
        terminal.restore()
        DispatchQueue.global().asyncAfter(deadline: .now() + .seconds(1)) { exit(code) }
        return ExitCode(code)
    }
}

extension CommandFailure {
    static func agentUnreachable(_ problem: AgentProblem) -> CommandFailure {
        CommandFailure(
            "cannot reach the guest's agent: \(problem)",
            hint: problem.hint ?? "`rum status` tells more; a guest that boots needs a while",
            status: .unreachable)
    }
}

/// Whether the command has been started.
private final class StartedFlag: Sendable {
    private let flag: Atomic<Bool>

    init(_ isSet: Bool) { flag = Atomic(isSet) }

    var isSet: Bool { flag.load(ordering: .relaxed) }
    func set() { flag.store(true, ordering: .relaxed) }
}
