internal import Linux

/// Which listeners a rule is about; what is left out matches all of them.
package struct PortMatch: Hashable, Sendable {
    /// How widely a program listens in the guest.
    package enum Scope: String, Hashable, Sendable, CaseIterable {
        case any
        /// Only the guest itself can connect.
        case loopback
        /// 0.0.0.0 or ::, which containers publish on, for example.
        case wildcard

        func contains(_ address: IPAddress) -> Bool {
            switch self {
            case .any: true
            case .loopback: address.isLoopback
            case .wildcard: address.isUnspecified
            }
        }
    }

    /// Empty for every port.
    package var ports: [PortRange] = []
    /// Of the process's name.
    package var process: TextPattern?
    /// Of its command line.
    package var command: TextPattern?
    /// Of the id or name of the container that it runs in.
    package var container: TextPattern?
    package var scope = Scope.any

    package init() {}

    /// nil where every port is asked for.
    var lowestPort: PortNumber? { ports.map(\.lower).min() }

    /// Whether a port is in one of the ranges; any port is where there are none.
    package func contains(_ port: PortNumber) -> Bool {
        ports.isEmpty || ports.contains { $0.contains(port) }
    }

    /// Whether it makes no difference who listens.
    package var isAboutPortsOnly: Bool {
        process == nil && command == nil && container == nil && scope == .any
    }

    /// Whether it asks for more of a process than its name.
    package var needsDetails: Bool { command != nil || container != nil }

    /// Whether a listener is what is asked for.
    package enum Verdict: Hashable, Sendable {
        case matches, differs
        /// The guest has not told yet what it depends on.
        case undecided
    }

    /// Whether one listener is all that is asked for.
    package func verdict(on listener: ListeningSocket) -> Verdict {
        guard contains(listener.port), scope.contains(listener.address) else { return .differs }
        if isAboutPortsOnly || process == nil && !needsDetails { return .matches }
        guard let known = listener.process else { return .undecided }
        if let process, !process.matches(known.name) { return .differs }
        guard needsDetails else { return .matches }
        guard let details = known.details else { return .undecided }
        if let command, !command.matches(details.command) { return .differs }
        if let container, !(details.container.map(container.matches) ?? false) { return .differs }
        return .matches
    }
}
