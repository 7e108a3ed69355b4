internal import Linux
package import PortForward
package import Relay

/// Binds host ports for one agent, on a relay engine that serves no other.
package struct RelayBinder: ForwardBinder {
    private let engine: RelayEngine
    private let agent: ForwardTarget
    private let recent = RecentPorts()
    private let clients: ClientCheck

    /// - Parameters:
    ///   - engine: moves the bytes; it is not shut down here.
    ///   - refused: gets what to tell of clients that were reset because they may not use a forward, and why; called on
    ///     the engine's event loops, and seldom.
    package init(
        engine: RelayEngine, agent: ForwardTarget,
        refused: @escaping @Sendable (WantedForward.Key, _ reason: String) -> Void = { _, _ in }
    ) {
        self.engine = engine
        self.agent = agent
        clients = ClientCheck(refused: refused)
    }

    package func bind(_ forward: WantedForward.Key) throws(BindFailure) -> any BoundForward {
        try HostListener(forward, to: agent, engine: engine, recent: recent, clients: clients)
    }

    package func resetConnections(acceptedBefore time: UInt64) {
        engine.resetConnections(acceptedBefore: time)
    }

    package func holders(of addresses: [HostAddress]) async -> [HostAddress: PortHolder] {
        await PortHolderScan().holders(of: addresses)
    }
}

extension ForwardClock {
    /// The system's.
    package static let system = ForwardClock(
        monotonic: { SystemClock.monotonic }, wallMicroseconds: { SystemClock.realtime / 1000 })
}
