internal import Linux
package import PortForward
package import Relay

/// Binds host ports for one agent, on a relay engine that serves no other.
package struct RelayBinder: ForwardBinder {
    private let engine: RelayEngine
    private let agent: ForwardTarget

    /// - Parameter engine: moves the bytes; it is not shut down here.
    package init(engine: RelayEngine, agent: ForwardTarget) {
        self.engine = engine
        self.agent = agent
    }

    package func bind(_ forward: WantedForward.Key) throws(BindFailure) -> any BoundForward {
        try HostListener(forward, to: agent, engine: engine)
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
