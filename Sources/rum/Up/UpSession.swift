import AgentAPI
import CommandMain
import Control
import Linux
import Machine
import Ports
import RumConfig
import Synchronization

/// One `rum up`: brings the machine up, and then owns its forwards, has a background process do so, or follows the
/// process that does already.
final class UpSession: Sendable {
    private let machine: VirtualMachine
    private let output: EventOutput
    private let agentTimeout: DurationArgument
    private let reset: Bool
    private let isDetached: Bool
    /// Host ports whose programs are to be ready.
    private let awaited: [PortNumber]
    private let progress = ProgressPrinter()
    private let link: OwnerLink
    /// What to say after Ctrl-C.
    private let goodbye = Mutex<String?>(nil)

    private var name: String { machine.config.name }

    init(
        machine: VirtualMachine, output: EventOutput, agentTimeout: DurationArgument, reset: Bool,
        isDetached: Bool, awaited: [PortNumber] = []
    ) {
        self.machine = machine
        self.output = output
        self.agentTimeout = agentTimeout
        self.reset = reset
        self.isDetached = isDetached
        self.awaited = awaited
        link = OwnerLink(machine)
    }

    func run() async throws {
        let forwarder = await forwarder()
        let running = try await explained { () async throws(MachineError) in
            try await machine.up(reset: reset, forwarder: forwarder) { [progress] in progress.show($0) }
        }
        keepSaying("\(name) keeps running; `rum down` stops it")
        // One of the run before, which has not noticed its end yet.
        if !running.wasRunning { try await link.end() }
        // A start has told it already.
        if running.wasRunning { progress.say("\(name) runs with \(running.accelerator)") }
        progress.say("its agent is reached by \(running.channel)")
        if isDetached { return try await detach(running) }
        if let hello = try await link.hello() {
            if hello.isCurrent { try await reload(running) }
            return try await follow(hello)
        }
        try await note(running)
        let owner = Owner(
            machine, running, output: output, agentTimeout: agentTimeout.duration, isBackground: false,
            isFresh: !running.wasRunning)
        do {
            // Its end may be an interruption, after which the machine still runs.
            defer { if !owner.machineRuns.load(ordering: .relaxed) { keepSaying(nil) } }
            try await whileWaiting { try await owner.run() }
        } catch is OwnedElsewhere {
            guard let hello = try await link.hello() else { throw CommandFailure.nothingForwards(name) }
            try await follow(hello)
        }
    }

    /// Who forwards the ports already; nil for nobody.
    private func forwarder() async -> PortForwarder? {
        do {
            guard let hello = try await link.hello() else { return nil }
            if hello.isCurrent { return .changing }
            if !hello.isBackground { return .terminal }
        } catch {
            // There is one, which does not answer.
        }
        return isDetached ? .changing : .background
    }

    /// Tells, after an interruption, what goes on without this command.
    func sayGoodbye() {
        if let text = goodbye.withLock({ $0 }) { progress.say(text) }
    }

    private func keepSaying(_ text: String?) { goodbye.withLock { $0 = text } }

    // MARK: Another process forwards

    /// Has the owner, one of this version, forward what rum.toml says by now, if that is something else.
    private func reload(_ running: RunningMachine) async throws {
        guard running.hasNewForwards else { return }
        guard let answer = try await link.answer(.reload(file: machine.configFile)) else {
            throw CommandFailure.nothingForwards(name)
        }
        guard answer.isDone else {
            throw CommandFailure(
                answer.sentence, hint: answer.hint ?? "`rum down` and `rum up` begin anew")
        }
        try await note(running)
    }

    /// Notes that ports are forwarded as rum.toml says, if that is news.
    private func note(_ running: RunningMachine) async throws {
        guard running.hasNewForwards else { return }
        try await explained { () async throws(MachineError) in
            try await machine.noteForwards { [progress] in progress.show($0) }
        }
    }

    /// Shows what the owner does, until it ends or the task is cancelled.
    private func follow(_ hello: ControlHello) async throws {
        keepSaying(
            hello.isBackground
                ? "the ports of \(name) stay forwarded (pid \(hello.pid)); `rum down` stops the machine"
                : "the other `rum up` (pid \(hello.pid)) goes on")
        progress.say(
            "The ports of \(name) are forwarded by \(hello.isBackground ? "a background process" : "another `rum up`") (pid \(hello.pid)); Ctrl-C leaves it running"
        )
        try await whileWaiting { [self] in
            try await followAsking()
        }
    }

    /// Questions can be answered here as well.
    private func followAsking() async throws {
        let questions = output.json ? nil : TerminalQuestions.atTerminal()
        let follower = OwnerFollower(link: link, output: output, progress: progress, questions: questions)
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let questions {
                group.addTask { await questions.run(self.pass) }
            }
            try await follower.run(until: .end)
            group.cancelAll()
        }
    }

    /// Passes an answer on to the process that forwards; what is to be said about it, or nil.
    private func pass(_ consent: PortConsent, about port: UInt16) async -> String? {
        do throws(CommandFailure) {
            let answer = try await link.answer(.answering(consent, about: port))
            return answer?.hint == nil ? nil : answer?.sentence
        } catch {
            return error.message
        }
    }

    /// Returns when a background process forwards and the agent is ready.
    private func detach(_ running: RunningMachine) async throws {
        let follower = OwnerFollower(link: link, output: output, progress: progress)
        if let hello = try await link.hello() {
            if hello.isCurrent {
                try await reload(running)
                keepSaying(
                    "the ports of \(name) stay forwarded (pid \(hello.pid)); `rum down` stops the machine")
                try await untilReady(follower)
                try await waitForPorts()
                return tell(
                    hello,
                    "are forwarded already by \(hello.isBackground ? "a background process" : "a `rum up` in a terminal")"
                )
            }
            guard hello.isBackground else { throw link.failure(.otherVersion(hello)) }
            progress.say("Replacing the background process, which is of rum \(hello.rum)")
            try await link.end()
        }
        try await note(running)
        let background = BackgroundOwner(
            machine: machine, agentTimeout: agentTimeout, isFresh: !running.wasRunning,
            verbose: output.verbose)
        let started = try background.start()
        let hello: ControlHello
        do {
            hello = try await started.untilServing(link)
            try await follower.run(until: .ready)
            try Task.checkCancellation()
        } catch {
            // It must not go on when this command says that it failed. This task may be cancelled.
            let link = link
            await Task { _ = try? await link.end() }.value
            started.kill()
            throw error
        }
        keepSaying("the ports of \(name) stay forwarded (pid \(hello.pid)); `rum down` stops the machine")
        try await waitForPorts()
        tell(hello, "are forwarded in the background")
    }

    /// Waits as long as a process that has just been started would.
    private func untilReady(_ follower: OwnerFollower) async throws {
        let isReady = try await withThrowingTaskGroup(of: Bool.self) { [agentTimeout] group in
            group.addTask {
                try await follower.run(until: .ready)
                return true
            }
            group.addTask {
                try await Task.sleep(for: agentTimeout.duration)
                return false
            }
            defer { group.cancelAll() }
            return try await group.next() ?? false
        }
        guard isReady else {
            throw CommandFailure(
                "the guest's agent did not answer within \(agentTimeout)",
                hint: """
                    see what the guest says (`rum logs`); its ports stay forwarded, and `rum up -d` waits again (--timeout)
                    """)
        }
    }

    private func tell(_ hello: ControlHello, _ what: String) {
        if output.json {
            let document = BackgroundDocument(pid: hello.pid, log: machine.files.backgroundLog)
            try? StandardOutput.post(document.jsonLine)
            return
        }
        let log = hello.isBackground ? ", log \(machine.files.backgroundLog)" : ""
        progress.say(
            "The ports of \(name) \(what) (pid \(hello.pid)\(log)); `rum ports` shows them, `rum down` stops all"
        )
    }
}

extension ControlHello {
    /// Whether it is of this version of rum.
    fileprivate var isCurrent: Bool { rum == rumVersion && version == ControlLimits.version }
}

// MARK: - Programs that are waited for

extension UpSession {
    /// Runs `body` to its end, and meanwhile waits for the ports; one that is not ready in time ends it.
    private func whileWaiting(_ body: @escaping @Sendable () async throws -> Void) async throws {
        guard !awaited.isEmpty else { return try await body() }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await body()
                return true
            }
            group.addTask {
                try await self.untilAgentAnswers()
                try await self.waitForPorts()
                return false
            }
            defer { group.cancelAll() }
            while let isOver = try await group.next(), !isOver {}
        }
    }

    /// The owner gives up by itself when the agent does not answer in time.
    private func untilAgentAnswers() async throws {
        while try await link.report()?.agent == nil { try await Task.sleep(for: .milliseconds(100)) }
    }

    /// Says of each port when its program accepts connections.
    private func waitForPorts() async throws {
        let deadline = ContinuousClock.now + agentTimeout.duration
        try await withThrowingTaskGroup(of: Void.self) { group in
            for port in awaited { group.addTask { try await self.wait(for: port, until: deadline) } }
            try await group.waitForAll()
        }
    }

    private func wait(for port: PortNumber, until deadline: ContinuousClock.Instant) async throws {
        guard let answer = try await PortWait(port: port).answer(link, until: deadline) else {
            throw CommandFailure.nothingForwards(name)
        }
        guard answer.isDone else {
            throw CommandFailure(
                "port \(port) is not ready: \(answer.sentence)",
                hint: "\(answer.hint.map { "\($0); " } ?? "")the machine runs on")
        }
        let document = ReadyDocument(port: port.rawValue, sentence: answer.sentence)
        try StandardOutput.post(
            output.json ? document.jsonLine : "Ready: \(answer.sentence.printable(limit: 1000))")
    }
}

/// A line of `rum up --wait --json`.
struct ReadyDocument: Encodable {
    let event = "ready"
    let port: UInt16
    let sentence: String

    enum CodingKeys: String, CodingKey {
        case event, sentence
        case port = "host_port"
    }
}

/// The last line of `rum up -d --json`.
struct BackgroundDocument: Encodable {
    let event = "background"
    let pid: Int32
    let log: String
}
