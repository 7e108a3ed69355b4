internal import Linux
package import PortForward
package import Ports
package import Relay

/// Binds host ports for one agent, on a relay engine that serves no other.
package struct RelayBinder: ForwardBinder {
    private let engine: RelayEngine
    private let agent: ForwardTarget
    private let recent = RecentPorts()
    private let clients: ClientCheck
    /// The ways to the guest's ports, for clients that come by name.
    package let routes: ForwardRoutes

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
        let clients = ClientCheck(refused: refused)
        self.clients = clients
        routes = ForwardRoutes(isMine: clients.isMine) { forward throws(BindFailure) in
            try Self.role(of: forward, agent, clients)
        }
    }

    package func bind(
        _ forward: WantedForward.Key, on port: PortNumber
    ) throws(BindFailure) -> any BoundForward {
        let way = try routes.way(to: forward)
        var (actual, role) = (forward, way.role)
        if port != forward.hostPort {
            actual.hostPort = port
            // Clients that are refused are told with the port to which they came.
            role.admitsClient = try clients.check(for: actual)
        }
        let listener = try HostListener(
            actual, role: role, named: way.named, engine: engine, wasOurs: recent.contains(port)
        ) { [recent, routes] in
            recent.note(port)
            routes.closed(forward)
        }
        routes.opened(forward, on: port)
        return listener
    }

    private static func role(
        of forward: WantedForward.Key, _ agent: ForwardTarget, _ clients: ClientCheck
    ) throws(BindFailure) -> RelayRole {
        let hold = forward.settings.hold.map { RelayHold(time: $0) }
        var role = RelayRole(tunnel: .dialled) { agent.handshake(for: forward.guestPort, waits: hold != nil) }
        if forward.settings.proxyProtocol {
            role.handshake = { client in
                agent.handshake(
                    for: forward.guestPort, waits: hold != nil, greeting: ProxyHeader(ofClient: client).bytes)
            }
        }
        role.hold = hold
        role.admitsClient = try clients.check(for: forward)
        return role
    }

    package func note(wanted forwards: [WantedForward]) {
        for hold in routes.update(forwards).compactMap(\.role.hold) {
            hold.end()
            engine.retry(hold)
        }
    }

    package func counters(of forward: WantedForward.Key) -> ForwardCounters { routes.counters(of: forward) }

    package func resetConnections(acceptedBefore time: UInt64) {
        engine.resetConnections(acceptedBefore: time)
    }

    package func findLostConnections() { engine.findLostTunnels() }

    package func holders(of addresses: [HostAddress]) async -> [HostAddress: PortHolder] {
        await PortHolderScan().holders(of: addresses)
    }
}

extension ForwardClock {
    /// The system's.
    package static let system = ForwardClock(
        monotonic: { SystemClock.monotonic }, wallMicroseconds: { SystemClock.realtime / 1000 })
}
