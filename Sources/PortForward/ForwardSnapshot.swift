package import Ports

/// One forward as it stands, for `status` and `ports`.
package struct ForwardSnapshot: Hashable, Sendable, Identifiable {
    package enum State: String, Sendable {
        case open
        case blocked
    }

    /// New for every opening; a port that closes and opens again has another one.
    package var id: UInt64
    package var forward: WantedForward.Key
    package var state: State
    /// Who listens in the guest, as far as known.
    package var listener: ListeningSocket?
    /// Why it is blocked.
    package var reason: String?
    /// From listen(2) in the guest to the open host port; nil when the former was not seen.
    package var latencyMicroseconds: UInt64?
    package var counters: ForwardCounters
}
