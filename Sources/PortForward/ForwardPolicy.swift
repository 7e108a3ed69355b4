package import Ports

/// Says which forwards there should be: a pure function of the configuration and the guest's table.
package struct ForwardPolicy: Hashable, Sendable {
    package var staticPorts: [StaticPort]
    package var autoPorts: AutoPorts?
    /// How many automatic forwards there may be at once; further ports of the guest are left out, and an event says so.
    package var maxAutoPorts: Int {
        get { autoPorts?.max ?? 0 }
        set { autoPorts?.max = newValue }
    }

    package init(staticPorts: [StaticPort] = [], autoPorts: AutoPorts? = nil) {
        self.staticPorts = staticPorts
        self.autoPorts = autoPorts
    }

    /// The forwards that `table` calls for, static ones first, then by port. Without a table, only the static ones.
    ///
    /// A guest port has one forward, however many addresses listen on it; one with a static forward, or whose
    /// number a static forward takes on the host, gets no automatic one.
    package func wanted(in table: ListenTable?) -> [WantedForward] {
        let listeners = Self.byPort(table?.listeners ?? [])
        let fixed = staticPorts.map { port in
            WantedForward(
                key: .init(
                    kind: .static, bind: port.bind, hostPort: port.host, guestPort: port.guest,
                    allow: port.allow),
                listener: listeners[port.guest])
        }
        guard let autoPorts else { return fixed }
        let taken = Set(staticPorts.flatMap { [$0.host, $0.guest] }).union(autoPorts.ignore)
        let automatic =
            listeners.values
            .filter { autoPorts.range.contains($0.port) && !taken.contains($0.port) }
            .sorted { $0.port < $1.port }
            .map { listener in
                WantedForward(
                    key: .init(
                        kind: .auto, bind: autoPorts.bind, hostPort: listener.port, guestPort: listener.port,
                        allow: autoPorts.allow),
                    listener: listener)
            }
        return fixed + automatic
    }

    /// One listener a port: the first that knows its process, else the first.
    private static func byPort(_ listeners: [ListeningSocket]) -> [PortNumber: ListeningSocket] {
        Dictionary(listeners.map { ($0.port, $0) }) { first, next in
            first.process == nil && next.process != nil ? next : first
        }
    }
}

/// A forward that should exist.
package struct WantedForward: Hashable, Sendable {
    package enum Kind: String, Sendable {
        case auto
        case `static`
    }

    /// What makes two wanted forwards the same one.
    package struct Key: Hashable, Sendable {
        package var kind: Kind
        package var bind: BindAddress
        package var hostPort: PortNumber
        package var guestPort: PortNumber
        package var allow: AllowedClients

        package init(
            kind: Kind, bind: BindAddress, hostPort: PortNumber, guestPort: PortNumber,
            allow: AllowedClients = .me
        ) {
            self.kind = kind
            self.bind = bind
            self.hostPort = hostPort
            self.guestPort = guestPort
            self.allow = allow
        }

        /// The host side, as users write it.
        package var hostText: String { bind.with(hostPort) }
    }

    package var key: Key
    /// Who listens in the guest; nil when nobody does, which only a static forward outlives.
    package var listener: ListeningSocket?

    package init(key: Key, listener: ListeningSocket? = nil) {
        self.key = key
        self.listener = listener
    }
}
