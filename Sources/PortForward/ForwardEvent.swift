package import Ports

/// Something that has happened to a forward or to the agent, told after the fact.
package struct ForwardEvent: Hashable, Sendable {
    package enum Name: String, Sendable {
        /// The host port accepts connections.
        case opened
        /// The host port refuses connections again; or one that was blocked or asked about, and told
        /// so, is not wanted any more.
        case closed
        /// The host port could not be opened; it will be as soon as it can.
        case blocked
        /// Its rule asks, and it is not opened until the user says yes.
        case asked
        /// The agent does not answer: what listens in the guest is unknown.
        case agentLost = "agent_lost"
        case agentBack = "agent_back"
        /// A bound is kept: this port changes too often, or, without a forward, the guest's ports do or are too many.
        case limited
        /// A client that may not use this forward was reset; told of the first, and then now and again with a count.
        case refused
    }

    package var name: Name
    /// nil for events of the agent and of all ports together.
    package var forward: WantedForward.Key?
    /// Who listens in the guest, as far as known.
    package var listener: ListeningSocket?
    /// The rule that decided about it; nil where none did.
    package var rule: PortRule?
    /// Why: of `blocked`, `asked`, `closed`, `limited` and the agent's events, and of `opened` on another host port than the wanted
    /// one; nil for the usual reason.
    package var reason: String?
    /// What bind(2) said: of `blocked`, and of `closed` when the port was never open.
    package var failure: BindFailure?
    /// Of `closed`: it was only asked about, and never open.
    package var wasAsked = false
    /// From listen(2) in the guest to the open host port; nil when the former was not seen.
    package var latencyMicroseconds: UInt64?
    /// Microseconds since 1970.
    package var timeMicroseconds: UInt64

    package init(
        name: Name, forward: WantedForward.Key? = nil, listener: ListeningSocket? = nil,
        rule: PortRule? = nil,
        reason: String? = nil, failure: BindFailure? = nil, latencyMicroseconds: UInt64? = nil,
        timeMicroseconds: UInt64
    ) {
        self.name = name
        self.forward = forward
        self.listener = listener
        self.rule = rule
        self.reason = reason
        self.failure = failure
        self.latencyMicroseconds = latencyMicroseconds
        self.timeMicroseconds = timeMicroseconds
    }
}
