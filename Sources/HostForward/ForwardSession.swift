package import AgentAPI
package import AgentChannel
package import AgentSession
package import PortForward
package import Ports
package import Relay
internal import Synchronization

/// Forwards the ports of one guest: follows its agent's tables and keeps the host's open ports in step with them.
package final class ForwardSession: Sendable {
    private let reconciler: ForwardReconciler
    /// The ways to the guest's ports, for clients that come by name.
    package let routes: ForwardRoutes
    private let follower: AgentFollower
    private let target: ForwardTarget
    private let intake = TableIntake()
    private let status = Mutex(AgentStatus.notYetReached)
    private let wasReady = Atomic(false)

    /// - Parameters:
    ///   - token: the machine's; nil where the agent asks for none.
    ///   - alwaysPoll: poll even where the agent offers the stream.
    ///   - engine: moves the bytes; it is not shut down here.
    ///   - emit: gets every event, in order; must not wait.
    package init(
        agent: AgentAddress, token: MachineToken?, policy: ForwardPolicy, alwaysPoll: Bool = false,
        engine: RelayEngine, emit: @escaping @Sendable (ForwardEvent) -> Void
    ) {
        target = ForwardTarget(address: agent, token: token ?? .none)
        let sharing = ForwardSharing()
        let binder = RelayBinder(engine: engine, agent: target) { key, reason in
            emit(
                ForwardEvent(
                    name: .refused, forward: key, reason: reason,
                    timeMicroseconds: ForwardClock.system.wallMicroseconds()))
        }
        routes = binder.routes
        let reconciler = ForwardReconciler(policy: policy, binder: binder, clock: .system) { event in
            emit(event)
            sharing.note()
        }
        self.reconciler = reconciler
        follower = AgentFollower(
            token: token, range: policy.autoPorts?.range,
            describesProcesses: policy.autoPorts?.needsDetails ?? false, alwaysPoll: alwaysPoll,
            feed: { [target] range in
                let preamble = TablePreamble(token: token ?? .none, range: range)
                return try await AgentDialer(address: target.address).dial(preamble)
            },
            share: { agent in await sharing.run(with: agent) { await reconciler.forwards } },
            dial: { [target] in try await AgentDialer(address: target.address).dial(.rpc) })
    }

    /// Opens the static forwards, and follows the agent until the task is cancelled; then closes every forward.
    ///
    /// - Parameters:
    ///   - waiting: gets each failed attempt until the agent can be followed; what it throws ends the session.
    ///   - ready: is called once, when the agent can be followed and the ports of its first table are open.
    package func run(
        waiting: @escaping @Sendable (AgentWaiting) async throws -> Void = { _ in },
        ready: @escaping @Sendable (AgentInfo) -> Void = { _ in }
    ) async throws {
        await reconciler.start()
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                // From the start: a static port that somebody holds must be told and tried again.
                group.addTask { await self.reconciler.run() }
                group.addTask { try await self.follower.run(waiting: waiting) { await self.take($0, ready) } }
                defer { group.cancelAll() }
                while try await group.next() != nil {}
            }
        } catch {
            await reconciler.stop()
            throw error
        }
        await reconciler.stop()
    }

    /// Reaches the agent, whose token is the same, at another address from now on.
    package func reach(_ address: AgentAddress) { target.address = address }

    /// Finds out at once whether the agent is still there, for the caller who knows that something happened to the
    /// guest; by itself a session notices within seconds.
    package func checkAgent() { follower.check() }

    /// What is known about the agent.
    package var agent: AgentStatus { status.withLock { $0 } }

    /// Every forward there is or should be: static ones first, then by host port.
    package var forwards: [ForwardSnapshot] {
        get async { await reconciler.forwards }
    }

    /// Tells all that stands in events, for a reader who has missed some: `start` is called first, and no other event
    /// comes in between.
    package func retell(
        after start: @Sendable () -> Void, to tell: @Sendable (ForwardEvent) -> Void
    ) async { await reconciler.retell(after: start, to: tell) }

    /// Tells of ports that could not be opened, which waits until it is known who holds them.
    package func settle() async { await reconciler.announceBlocked() }

    /// Forwards what another policy says from now on; what both say stays open, with its connections.
    ///
    /// Returns when that is done, with the ports of a wider range too, unless the agent is away or does not answer in time.
    package func apply(_ policy: ForwardPolicy) async {
        await reconciler.apply(policy)
        let auto = policy.autoPorts
        follower.follow(auto?.range, describesProcesses: auto?.needsDetails ?? false)
        if case .connected = agent { await follower.untilReported() }
        await settle()
    }

    /// Forwards a port from now on, if that can be done at once.
    package func add(_ port: StaticPort) async -> AddOutcome { await reconciler.add(port) }

    /// Forwards a port no longer, whoever may connect to it; false when there is no such static forward.
    package func remove(_ port: StaticPort) async -> Bool { await reconciler.remove(port) }

    /// Notes what the user says about a port of the guest whose rule asks; nil forgets it.
    package func answer(_ answer: PortConsent?, about port: PortNumber) async {
        await reconciler.answer(answer, about: port)
    }

    /// What there should be, with the changes made at run time.
    package var policy: ForwardPolicy {
        get async { await reconciler.currentPolicy }
    }

    /// The rule that decides about a port of the guest; nil where none does.
    package func rule(for port: PortNumber) async -> PortRule? { await reconciler.rule(for: port) }

    /// Why a port that listens in the guest is not forwarded yet, if its number is held back.
    package func holdBack(of port: PortNumber) async -> HoldBack? { await reconciler.holdBack(of: port) }

    private func take(_ event: AgentEvent, _ ready: @Sendable (AgentInfo) -> Void) async {
        switch event {
        case .connected(let info, let start, let delivery):
            target.speak(ForwardVersion(spokenWith: info.forwardVersion))
            status.withLock { $0 = .connected(info, delivery) }
            await reconciler.agentConnected(
                instanceID: info.instanceID, bootID: info.bootID, startedAt: start.agent)
            if !follower.followsPorts { tellReady(ready) }
        case .table(let table, let offset):
            // Not yet, when a connection has ended before its tables were paid for.
            guard await intake.wait() else { return }
            // What it costs to read is paid for, whatever is kept of it.
            let kept = table.cuttingNames(to: AgentLimits.longestName)
            await reconciler.apply(kept, hostMinusGuest: offset.hostMinusGuest)
            tellReady(ready)
            intake.pay(for: table)
            _ = await intake.wait()
        case .alive(let info, _):
            status.withLock {
                if case .connected(_, let delivery) = $0 { $0 = .connected(info, delivery) }
            }
        case .lost(let problem):
            status.withLock { $0 = .lost(reason: "\(problem)") }
            await reconciler.agentLost(reason: "\(problem)")
        }
    }

    private func tellReady(_ ready: @Sendable (AgentInfo) -> Void) {
        guard case .connected(let info, _) = agent,
            !wasReady.exchange(true, ordering: .acquiringAndReleasing)
        else { return }
        ready(info)
    }
}
