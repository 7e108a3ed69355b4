/// The guest ports that are forwarded, to the same number, while something listens on them.
package struct AutoPorts: Hashable, Sendable {
    package var range: PortRange
    /// Where on the host they are bound.
    package var bind: BindAddress
    /// Ports of the range that are never forwarded.
    package var ignore: Set<PortNumber>
    /// Who may connect to them.
    package var allow: AllowedClients

    package init(
        range: PortRange, bind: BindAddress = .loopback, ignore: Set<PortNumber> = [],
        allow: AllowedClients = .me
    ) {
        self.range = range
        self.bind = bind
        self.ignore = ignore
        self.allow = allow
    }
}
