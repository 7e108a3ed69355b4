/// A guest port that is forwarded whether or not something listens on it.
package struct StaticPort: Hashable, Sendable {
    /// Where on the host it is bound.
    package var bind: BindAddress
    package var host: PortNumber
    package var guest: PortNumber
    /// Who may connect to it.
    package var allow: AllowedClients

    package init(
        bind: BindAddress = .loopback, host: PortNumber, guest: PortNumber, allow: AllowedClients = .me
    ) {
        self.bind = bind
        self.host = host
        self.guest = guest
        self.allow = allow
    }

    /// Whether both are what a user names by `[bind:]host:guest`, whoever may connect to them.
    package func isSameForward(as other: StaticPort) -> Bool {
        (bind, host, guest) == (other.bind, other.host, other.guest)
    }

    /// Whether both take the same port of the same address.
    package func collides(with other: StaticPort) -> Bool {
        host == other.host && bind.collides(with: other.bind)
    }
}
