import AgentAPI
import AgentChannel
import AgentSession
import CommandMain
import Control
import Foundation
import HostForward
import Linux
import Machine
import PortForward
import Ports
import Relay
import Router
import RumConfig
import Synchronization

/// The one process that owns a machine's forwards: opens them, watches machine and agent, and answers on the control
/// socket. It is a `rum up` in a terminal, or the background process of `rum up -d`.
final class Owner: Sendable {
    let machine: VirtualMachine
    private let place: Mutex<RunningMachine>
    private let output: EventOutput
    let voice: OwnerVoice
    private let agentTimeout: Duration
    private let isBackground: Bool
    /// Whether the machine was started for it, so that how provisioning goes is news.
    private let isFresh: Bool
    /// nil where nobody could answer.
    private let questions: TerminalQuestions?
    /// The agent has come back after a loss.
    private let returns = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
    let libvirtIsLost = Atomic(false)
    /// As rum.toml is by now.
    let provision: Mutex<MachineConfig.Provision>
    /// Whether the machine runs, as far as known.
    let machineRuns = Atomic(true)

    /// How the agent is reached.
    private var running: RunningMachine { place.withLock { $0 } }

    init(
        _ machine: VirtualMachine, _ running: RunningMachine, output: EventOutput, agentTimeout: Duration,
        isBackground: Bool, isFresh: Bool
    ) {
        self.machine = machine
        place = Mutex(running)
        provision = Mutex(machine.config.provision)
        self.output = output
        self.agentTimeout = agentTimeout
        self.isBackground = isBackground
        self.isFresh = isFresh
        questions = isBackground || output.json ? nil : .atTerminal()
        voice = OwnerVoice(output: output, isBackground: isBackground)
    }

    /// Stays until the machine stops, a client ends it, or the task is cancelled; then every forward is closed.
    ///
    /// - Throws: `OwnedElsewhere` when another process owns the forwards.
    func run() async throws {
        let hello = ControlHello(
            rum: rumVersion, machine: machine.config.name, pid: ProcessInfo.processInfo.processIdentifier,
            isBackground: isBackground)
        let server = try bind(hello)
        var policy = try await explained { () async throws(MachineError) in
            try await machine.forwardPolicy(of: machine.config)
        }
        policy.answers = answers()
        let engine = try RelayEngine.forHost(output)
        let pages = PageOpener(environment: ProcessInfo.processInfo.environment, say: voice.say)
        let session = ForwardSession(
            agent: running.address, token: running.token, policy: policy, engine: engine
        ) { [voice, questions, returns] event in
            voice.tell(event)
            if event.name == .agentBack { returns.continuation.yield() }
            questions?.take(EventDocument(event))
            pages.take(event)
        }
        let names = try NameRouter.make(for: machine.config.name, session, engine, say: voice.say)
        let guest = GuestQuestions(address: running.address, token: running.token)
        let service = OwnerService(
            hello: hello, session: session, guest: guest, subscribers: voice.subscribers, names: names,
            remember: { [machine] answer, port async throws(MachineError) in
                try await machine.remember(answer, about: port)
            },
            reload: { await self.reload($0, session) })
        try await withThrowingTaskGroup(of: Void.self) { group in
            // In a group of its own: it still has to tell how the rest has ended.
            group.addTask { [voice] in
                try await server.serve(tell: voice.tellCommandsWait) { await service.handle($0, $1) }
            }
            group.addTask { await names.run() }
            if let questions {
                group.addTask {
                    await questions.run { consent, port in
                        let answer = await service.take(consent, about: port)
                        return answer.hint == nil ? nil : answer.sentence
                    }
                }
            }
            defer { group.cancelAll() }
            do {
                try await own(session, service, guest)
                voice.subscribers.tell(.ended(ControlEnd(code: 0)))
            } catch {
                let failure = error as? CommandFailure
                let end = ControlEnd(
                    code: failure?.status.rawValue ?? 0, message: failure?.message, hint: failure?.hint)
                voice.subscribers.tell(.ended(end))
                throw error
            }
        }
    }

    private func bind(_ hello: ControlHello) throws -> ControlServer {
        do throws(SystemError) {
            return try ControlServer(path: machine.files.controlSocket, hello: hello)
        } catch {
            if error.isAddressInUse { throw OwnedElsewhere() }
            throw CommandFailure(
                "cannot serve \(machine.files.controlSocket): \(error.reason)",
                hint: "set RUM_HOME to a short path that you may write to")
        }
    }

    /// What was answered about ports, as far as it can be read.
    private func answers() -> [PortNumber: PortConsent] {
        do throws(MachineError) {
            return try machine.consents()
        } catch {
            voice.say("\(error.message), so ports are asked about again. \(error.hint)")
            return [:]
        }
    }

    private func own(
        _ session: ForwardSession, _ service: OwnerService, _ guest: GuestQuestions
    ) async throws {
        let ready = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
        let started = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.watchMachine(session) }
            group.addTask { try await self.watchStart(session, guest, until: started.stream) }
            group.addTask {
                await service.untilStopped()
                if !Task.isCancelled { self.voice.say("Ended by another command") }
            }
            group.addTask {
                // The second goes on until all ends.
                async let files: Void = LogFiles.keepSmall(self.machine.files, withOwn: self.isBackground)
                try await self.tellProvisioning(once: ready.stream)
                await files
            }
            // For those who came while it was lost, and wait until it answers.
            group.addTask { [returns] in for await _ in returns.stream { await service.tellReport() } }
            voice.say("Waiting for the agent in the guest")
            let greetings = AsyncStream<AgentInfo>.makeStream()
            group.addTask {
                for await info in greetings.stream {
                    let source = info.source
                    self.voice.say(
                        "The agent \(info.version) is ready (\(source.mode.rawValue), \(source.push.rawValue))"
                    )
                    if let warning = await AutoPorts.blindRules(session) { self.voice.say(warning) }
                    started.continuation.finish()
                    await service.tellReport()
                    ready.continuation.finish()
                }
            }
            group.addTask { [output] in
                try await output.retelling(session) {
                    try await session.run(waiting: self.checkPatience) { greetings.continuation.yield($0) }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Throws when there is no point in waiting any longer for the agent's first answer.
    private func checkPatience(_ waiting: AgentWaiting) throws(CommandFailure) {
        if waiting.isNews, waiting.problem == .tableTooLarge {
            voice.say("Waiting for the agent: \(waiting.problem)")
        }
        if waiting.problem == .tokenRefused {
            throw CommandFailure(
                "the guest's agent refuses the machine's token",
                hint: "the guest is not the one this machine was created with; `rum destroy`, then `rum up`")
        }
        if waiting.elapsed >= agentTimeout {
            throw CommandFailure(
                "the guest's agent did not answer within \(agentTimeout): \(waiting.problem)",
                hint: """
                    see what the guest says (`rum logs`); it keeps running, so `rum up` waits again (--timeout), and \
                    `rum down` stops it
                    """)
        }
    }

    /// Says what the console tells about the guest's start until the agent is there, and then waits to be cancelled.
    private func watchStart(
        _ session: ForwardSession, _ guest: GuestQuestions, until started: AsyncStream<Void>
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [machine, voice] in
                try await machine.watchConsole { news in
                    if let sentence = news.sentence(domain: machine.domain, virsh: machine.virsh) {
                        voice.say(sentence)
                    }
                    if news == .noVsock { try await self.reachWithoutVsock(session, guest) }
                }
            }
            group.addTask { for await _ in started {} }
            try await group.next()
            group.cancelAll()
        }
        await Task.untilCancelled()
    }

    private func reachWithoutVsock(_ session: ForwardSession, _ guest: GuestQuestions) async throws {
        let now = try await explained { () async throws(MachineError) in
            try await machine.withoutVsock { [voice] in voice.say($0.sentence) }
        }
        place.withLock { $0 = now }
        guest.reach(now.address)
        session.reach(now.address)
    }

    /// Shows what the scripts of rum.toml say while they run, and how they ended. Their failure ends nothing, since the
    /// machine runs and somebody has to look, unless rum.toml asks for it.
    private func tellProvisioning(once ready: AsyncStream<Void>) async throws {
        let scripts = machine.config.provision
        guard scripts.system != nil || scripts.boot != nil else { return }
        let provisioning = Provisioning(machine: running)
        for await _ in ready { break }
        guard !Task.isCancelled, let state = await provisioning.state(timeout: Provisioning.patience) else {
            return
        }
        if !state.isOver || isFresh {
            await provisioning.follow { [voice] in voice.say("provisioning: \($0)") }
        }
        guard let end = await provisioning.state(timeout: Provisioning.patience), end.isOver,
            !Task.isCancelled
        else { return }
        // Of a machine that ran already, only a failure is news.
        if end.progress == .failed {
            let cure = "`rum logs \(machine.config.name) --provision` shows all"
            if provision.withLock({ $0.onFailure }) == .stop {
                throw CommandFailure("provisioning \(end.text)", hint: "the machine runs on; \(cure)")
            }
            voice.say("Provisioning \(end.text); \(cure)")
        } else if isFresh, end.script != nil {
            voice.say("Provisioning \(end.text)")
        }
    }
}

/// Another process owns the forwards of this machine.
struct OwnedElsewhere: Error {}
