internal import Linux
internal import Ports

/// A forward that is wanted, with what became of it.
///
///     wanted ──bind──▶ open ──not wanted──▶ gone, `closed`
///        └──bind fails──▶ blocked ──holder found──▶ blocked and told ──not wanted──▶ gone, `closed`
///                            └──────────retry──────────┴──▶ open
///
/// Where its rule asks, it is asked about instead until the user has answered, and nothing is bound.
///
/// One that is blocked and not told yet goes without a word, unless the user was asked about it. When a retry fails for another
/// reason than the one told, the user hears of it again. Where `onConflict` says `fail`, there is no retry; where it says `next`,
/// the host port may be another than the one that is wanted.
struct ForwardEntry {
    enum State {
        case open(any BoundForward, on: PortNumber, latencyMicroseconds: UInt64?)
        case blocked(Blocked)
        /// The user has been asked and has not answered.
        case asking
    }

    static let question = "waits for your answer"

    struct Blocked {
        var failure: BindFailure
        /// The holder has been looked for and the user told of this failure.
        var isAnnounced = false
        /// The user has been told that it is blocked, for this reason or another one.
        var wasTold = false
        /// The user was asked about it before, and has not been told of it since.
        var wasAsked = false
        var holder: PortHolder?

        var reason: String {
            let place = failure.address
            if failure.isBusy { return "\(place) is held by \(holder?.description ?? "another process")" }
            let text = "\(place): \(failure.error.reason)"
            guard failure.lacksPrivilege else { return text }
            return "\(text) (a port below 1024: \(failure.address.port.cureForPrivilege))"
        }
    }

    let id: UInt64
    var wanted: WantedForward
    var state: State

    var isAsking: Bool { if case .asking = state { true } else { false } }

    /// The forward with the host port that it has; as it is wanted while it has none.
    var actual: WantedForward {
        guard case .open(_, let port, _) = state else { return wanted }
        var actual = wanted
        actual.key.hostPort = port
        return actual
    }

    /// Why it is on another host port than the wanted one; nil when it is not.
    var detour: String? {
        actual.key.hostPort == wanted.key.hostPort ? nil : "\(wanted.key.hostText) is taken"
    }

    var snapshot: ForwardSnapshot {
        switch state {
        case .open(let bound, _, let latency):
            ForwardSnapshot(
                id: id, forward: actual, state: .open, reason: detour, latencyMicroseconds: latency,
                counters: bound.counters)
        case .blocked(let blocked):
            ForwardSnapshot(
                id: id, forward: wanted, state: .blocked, reason: blocked.reason, failure: blocked.failure)
        case .asking:
            ForwardSnapshot(id: id, forward: wanted, state: .asking, reason: Self.question)
        }
    }
}
