import AgentAPI
import AgentChannel
import AgentSession
import CommandMain
import HostForward
import Linux
import Machine
import PortForward
import Ports
import Relay
import RumConfig
import Synchronization

/// One `rum up`: brings the machine up, forwards its ports, and watches both.
final class UpSession: Sendable {
    private let machine: VirtualMachine
    private let output: EventOutput
    private let agentTimeout: Duration
    private let reset: Bool
    private let progress = ProgressPrinter()
    private let machineRuns = Atomic(false)
    private let libvirtIsLost = Atomic(false)

    init(machine: VirtualMachine, output: EventOutput, agentTimeout: Duration, reset: Bool) {
        self.machine = machine
        self.output = output
        self.agentTimeout = agentTimeout
        self.reset = reset
    }

    /// Stays until the machine stops or the task is cancelled; then every forward is closed.
    func run() async throws {
        do {
            try await runOnce()
        } catch is ChannelChanged {
            // The machine runs by now, so this one reaches its agent in the other way.
            try await runOnce()
        }
    }

    /// The guest's agent turned out to listen elsewhere.
    private struct ChannelChanged: Error {}

    private func runOnce() async throws {
        try UpReportSocket.checkThatNobodyServes(machine)
        let running = try await explained { () async throws(MachineError) in
            try await machine.up(reset: reset) { [progress] in progress.show($0) }
        }
        machineRuns.store(true, ordering: .relaxed)
        // A start has told it already.
        if running.wasRunning { progress.say("\(machine.config.name) runs with \(running.accelerator)") }
        progress.say("its agent is reached by \(running.channel)")

        let engine = try RelayEngine.forHost(output)
        let forwards = ForwardSession(
            agent: running.address, token: running.token, policy: ForwardPolicy(machine.config),
            engine: engine,
            emit: output.print)
        let reports = try UpReportSocket(machine, forwards: forwards)
        let ready = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
        let started = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.watchMachine(forwards) }
            group.addTask { try await self.watchStart(until: started.stream) }
            group.addTask { await reports.serve() }
            group.addTask {
                try await self.tellProvisioning(running, once: ready.stream)
                await Self.untilCancelled()
            }
            progress.say("Waiting for the agent in the guest")
            group.addTask { [output] in
                try await output.retelling(forwards) {
                    try await forwards.run(waiting: self.checkPatience) { [progress = self.progress] info in
                        ready.continuation.finish()
                        started.continuation.finish()
                        let source = info.source
                        progress.say(
                            "The agent \(info.version) is ready (\(source.mode.rawValue), \(source.push.rawValue))"
                        )
                    }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// Says what the console tells about the guest's start until the agent is there, and then waits to be cancelled.
    private func watchStart(until started: AsyncStream<Void>) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [machine, progress] in
                try await machine.watchConsole { news in
                    if let sentence = news.sentence(domain: machine.domain) { progress.say(sentence) }
                    guard news == .noVsock else { return }
                    let before = try await explained { () async throws(MachineError) in
                        try await machine.status()
                    }
                    let now = try await explained { () async throws(MachineError) in
                        try await machine.withoutVsock { progress.show($0) }
                    }
                    if before.running?.address != now.address { throw ChannelChanged() }
                }
            }
            group.addTask { for await _ in started {} }
            try await group.next()
            group.cancelAll()
        }
        await Self.untilCancelled()
    }

    private static func untilCancelled() async {
        while !Task.isCancelled { try? await Task.sleep(for: .seconds(3600)) }
    }

    /// Tells, after an interruption, what goes on without this command.
    func sayGoodbye() {
        if machineRuns.load(ordering: .relaxed) {
            progress.say("\(machine.config.name) keeps running; `rum down` stops it")
        }
    }

    /// Throws when there is no point in waiting any longer for the agent's first answer.
    private func checkPatience(_ waiting: AgentWaiting) throws(CommandFailure) {
        if waiting.isNews, waiting.problem == .tableTooLarge {
            progress.say("Waiting for the agent: \(waiting.problem)")
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
                    see what the guest says in \(machine.files.consoleLog); it keeps running, so `rum up` waits \
                    again (--timeout), and `rum down` stops it
                    """)
        }
    }

    /// Shows what the scripts of rum.toml say while they run, and how they ended. Their failure ends nothing, since the
    /// machine runs and somebody has to look, unless rum.toml asks for it.
    private func tellProvisioning(_ running: RunningMachine, once ready: AsyncStream<Void>) async throws {
        let scripts = machine.config.provision
        guard scripts.system != nil || scripts.boot != nil else { return }
        let provisioning = Provisioning(machine: running)
        for await _ in ready { break }
        guard !Task.isCancelled, let state = await provisioning.state(timeout: Provisioning.patience) else {
            return
        }
        if !state.isOver || !running.wasRunning {
            await provisioning.follow { [progress] in progress.say("provisioning: \($0)") }
        }
        guard let end = await provisioning.state(timeout: Provisioning.patience), end.isOver,
            !Task.isCancelled
        else { return }
        // Of a machine that ran already, only a failure is news.
        if end.progress == .failed {
            let cure = "`rum exec \(machine.config.name) -- cat \(ProvisionReport.log)` shows all"
            if scripts.onFailure == .stop {
                throw CommandFailure("provisioning \(end.text)", hint: "the machine runs on; \(cure)")
            }
            progress.say("Provisioning \(end.text); \(cure)")
        } else if !running.wasRunning, end.script != nil {
            progress.say("Provisioning \(end.text)")
        }
    }

    /// Returns when the machine has stopped; throws when it broke.
    private func watchMachine(_ forwards: ForwardSession) async throws {
        let ends = AsyncStream<MachineEvent.StopReason>.makeStream(bufferingPolicy: .bufferingOldest(1))
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { [machine] in
                await machine.watch { event in
                    switch event {
                    case .stopped(let reason): ends.continuation.yield(reason)
                    case .state(.stopped), .state(.absent): ends.continuation.yield(.unknown)
                    case .resumed, .rebooted:
                        self.tell(of: event)
                        // Sooner than by a heartbeat: connections to the guest before may be dead without a word.
                        forwards.checkAgent()
                    default: self.tell(of: event)
                    }
                }
            }
            defer { group.cancelAll() }
            for await reason in ends.stream { return try end(reason) }
        }
    }

    private func tell(of event: MachineEvent) {
        let name = machine.config.name
        switch event {
        case .suspended(.requested): progress.say("\(name) is suspended; its ports answer when it resumes")
        case .suspended(.diskError):
            progress.say(
                """
                \(name) stands still since its disk cannot be written, as when the host's disk is full; free some \
                space for \(machine.files.directory), then let it go on: \
                virsh resume \(machine.domain)
                """)
        case .resumed: progress.say("\(name) goes on")
        case .rebooted: progress.say("\(name) reboots")
        case .libvirtLost:
            libvirtIsLost.store(true, ordering: .relaxed)
            progress.say("Lost libvirt; the forwards stay, and it is tried again")
        case .state(let state):
            if libvirtIsLost.exchange(false, ordering: .relaxed) {
                progress.say("libvirt is back; \(name) is \(state.rawValue)")
            }
        case .started, .stopped: break
        }
    }

    private func end(_ reason: MachineEvent.StopReason) throws(CommandFailure) {
        machineRuns.store(false, ordering: .relaxed)
        let sentence = "\(machine.config.name) has stopped: \(reason)"
        switch reason {
        case .crashed, .failed:
            throw CommandFailure(
                sentence, hint: "its last words are in \(machine.files.consoleLog); `rum up` starts it")
        case .shutDown, .destroyed, .migrated, .saved, .unknown:
            progress.say(sentence)
        }
    }
}

extension ForwardPolicy {
    /// What a configuration asks for.
    init(_ config: MachineConfig) {
        self.init(staticPorts: config.ports, autoPorts: config.autoPorts)
    }
}
