package import Linux
package import Ports

/// Sends the agent's tables over connections that ask for them.
package protocol TableSender: Sendable {
    /// Whether one more connection may come.
    var hasRoom: Bool { get }

    /// Takes over a non-blocking connection that has shown the token: it gets `ForwardStatus.connected`, the table of `range`,
    /// and each later one. Must not wait.
    func add(_ reader: consuming OwnedDescriptor, range: PortRange)
}
