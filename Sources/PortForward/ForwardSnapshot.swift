package import Ports

/// One forward as it stands, for `status` and `ports`.
package struct ForwardSnapshot: Hashable, Sendable, Identifiable {
    package enum State: String, Sendable {
        case open
        /// Open without a listener in the guest; clients wait for it (`ForwardSettings.hold`).
        case held
        case blocked
        /// Not open, since its rule asks and the user has not answered.
        case asking

        /// Whether it has its host port, be there a listener in the guest or not.
        package var isOpen: Bool { self == .open || self == .held }
    }

    /// New for every opening; a port that closes and opens again has another one.
    package var id: UInt64
    /// With the host port that it has.
    package var forward: WantedForward.Key
    package var state: State
    /// Who listens in the guest, as far as known.
    package var listener: ListeningSocket?
    /// The rule that decided; nil where none did.
    package var rule: PortRule?
    /// Why it is not open, or on another host port than it should be.
    package var reason: String?
    /// What bind(2) said: of `blocked`.
    package var failure: BindFailure?
    /// From listen(2) in the guest to the open host port; nil when the former was not seen.
    package var latencyMicroseconds: UInt64?
    package var counters: ForwardCounters

    init(
        id: UInt64, forward: WantedForward, state: State, reason: String?, failure: BindFailure? = nil,
        latencyMicroseconds: UInt64? = nil, counters: ForwardCounters = ForwardCounters()
    ) {
        self.id = id
        self.forward = forward.key
        self.state = state
        listener = forward.listener
        rule = forward.rule
        self.reason = reason
        self.failure = failure
        self.latencyMicroseconds = latencyMicroseconds
        self.counters = counters
    }
}
