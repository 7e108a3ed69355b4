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

    package var lowestPort: PortNumber? { ports.map(\.lower).min() }

    package func contains(_ port: PortNumber) -> Bool {
        ports.isEmpty || ports.contains { $0.contains(port) }
    }

    /// Whether it makes no difference who listens.
    package var isAboutPortsOnly: Bool {
        process == nil && command == nil && container == nil && scope == .any
    }

    /// Whether one listener is all that is asked for. What the guest has not told matches no pattern.
    package func matches(_ listener: ListeningSocket) -> Bool {
        contains(listener.port) && scope.contains(listener.address)
            && Self.matches(process, listener.process?.name)
            && Self.matches(command, listener.process?.command)
            && Self.matches(container, listener.process?.container)
    }

    private static func matches(_ pattern: TextPattern?, _ text: String?) -> Bool {
        guard let pattern else { return true }
        return text.map(pattern.matches) ?? false
    }
}
