internal import PortForward
internal import Relay

/// How clients of one forward reach the guest, by its host port or by its name: all of them wait for the same server, and
/// are counted together.
final class ForwardWay: Sendable {
    /// Of the forward's own host port.
    let role: RelayRole
    /// Of those who come by name.
    let named: RelayTarget

    init(role: RelayRole) {
        self.role = role
        named = RelayTarget(role: role)
    }
}

extension ForwardCounters {
    /// The counts of several listeners and targets of one forward together.
    init(_ parts: [RelayCounters]) {
        self.init()
        for part in parts {
            accepted += part.accepted
            active += part.active
            failed += part.failed
            bytesToGuest += part.bytesForth
            bytesFromGuest += part.bytesBack
        }
    }
}
