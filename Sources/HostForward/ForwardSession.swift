internal import AgentAPI
package import AgentChannel
internal import AgentSession
package import PortForward
internal import Ports
package import Relay
internal import Synchronization

/// Forwards the ports of one guest: follows its agent's tables and keeps the host's open ports in step with them.
package final class ForwardSession: Sendable {
    private let reconciler: ForwardReconciler
    private let follower: AgentFollower
    private let target: ForwardTarget
    private let status = Mutex(AgentStatus.notYetReached)

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
        reconciler = ForwardReconciler(
            policy: policy, binder: RelayBinder(engine: engine, agent: target), clock: .system, emit: emit)
        follower = AgentFollower(token: token, range: policy.autoPorts?.range, alwaysPoll: alwaysPoll) {
            try await AgentDialer(address: agent).dial(.rpc)
        }
    }

    /// Opens the static forwards, waits until the agent can be followed, and follows it until the task is
    /// cancelled; then closes every forward.
    ///
    /// - Parameter agentIsReady: returns when it is worth to connect; what it throws ends the session.
    package func run(
        agentIsReady: @escaping @Sendable () async throws -> Void = {}
    ) async throws {
        await reconciler.start()
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                // From the start: a static port that somebody holds must be told and tried again.
                group.addTask { await self.reconciler.run() }
                group.addTask {
                    try await agentIsReady()
                    await self.follower.run { await self.take($0) }
                }
                defer { group.cancelAll() }
                while try await group.next() != nil {}
            }
        } catch {
            await reconciler.stop()
            throw error
        }
        await reconciler.stop()
    }

    /// Finds out at once whether the agent is still there, for the caller who knows that something happened to the
    /// guest; by itself a session notices within seconds.
    package func checkAgent() { follower.check() }

    /// What is known about the agent.
    package var agent: AgentStatus { status.withLock { $0 } }

    /// Every forward there is or should be: static ones first, then by host port.
    package var forwards: [ForwardSnapshot] {
        get async { await reconciler.forwards }
    }

    /// Tells all that stands in events again, for a reader who has missed some: `start` is called first, and no other
    /// event comes in between.
    package func retell(after start: @Sendable () -> Void) async { await reconciler.retell(after: start) }

    private func take(_ event: AgentEvent) async {
        switch event {
        case .connected(let info, let delivery):
            status.withLock { $0 = .connected(info, delivery) }
            await reconciler.agentConnected(instanceID: info.instanceID, bootID: info.bootID)
        case .table(let table, let offset):
            await reconciler.apply(table, hostMinusGuest: offset.hostMinusGuest)
        case .alive(let info, _):
            status.withLock {
                if case .connected(_, let delivery) = $0 { $0 = .connected(info, delivery) }
            }
        case .lost(let reason):
            status.withLock { $0 = .lost(reason: reason) }
            await reconciler.agentLost(reason: reason)
        }
    }
}
