/// What connections are relayed to, and the count of them: a listener's own, or one without a listener, for connections
/// that come another way.
package final class RelayTarget: Sendable {
    let role: RelayRole
    /// Of the sockets that are accepted.
    let transport: Transport
    let tally = RelayTally()

    /// One whose clients come over TCP.
    package convenience init(role: RelayRole) { self.init(role: role, transport: .tcp) }

    init(role: RelayRole, transport: Transport) {
        self.role = role
        self.transport = transport
    }

    /// What was relayed to it so far.
    package var counters: RelayCounters { tally.counters }
}
