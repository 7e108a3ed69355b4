/// The guest ports that are forwarded while something listens on them; to the same number, unless a rule says otherwise.
package struct AutoPorts: Hashable, Sendable {
    package var range: PortRange
    /// Where on the host they are bound.
    package var bind: BindAddress
    /// Ports of the range that are never forwarded.
    package var ignore: Set<PortNumber>
    /// Who may connect to them.
    package var allow: AllowedClients
    /// How many may be forwarded at once; `mostAllowed` at the most.
    package var max: Int
    /// What becomes of the ports of the range, the first that matches; a port that none matches is forwarded.
    package var rules: [PortRule]

    /// Whether some rule asks for more of a process than its name.
    package var needsDetails: Bool { rules.contains(where: \.match.needsDetails) }

    package static let defaultMax = 1024
    /// There are no more ports.
    package static let mostAllowed = 65535

    package init(
        range: PortRange, bind: BindAddress = .loopback, ignore: Set<PortNumber> = [],
        allow: AllowedClients = .me, max: Int = defaultMax, rules: [PortRule] = []
    ) {
        self.range = range
        self.bind = bind
        self.ignore = ignore
        self.allow = allow
        self.max = max
        self.rules = rules
    }
}
