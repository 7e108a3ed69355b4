internal import Synchronization

/// What went through one listener so far.
package struct RelayCounters: Hashable, Sendable {
    /// Connections accepted since the listener was added.
    package var accepted: UInt64 = 0
    /// Connections open now.
    package var active: UInt64 = 0
    /// Connections that never got as far as relaying: refused, timed out, or the agent could not be reached.
    package var failed: UInt64 = 0
    /// Bytes towards the guest's program.
    package var bytesToGuest: UInt64 = 0
    /// Bytes from the guest's program.
    package var bytesFromGuest: UInt64 = 0

    package init() {}
}

/// The counters as the event loops write them. Each is exact; together they are no snapshot.
final class RelayTally: Sendable {
    let accepted = Atomic<UInt64>(0)
    let active = Atomic<UInt64>(0)
    let failed = Atomic<UInt64>(0)
    let bytesToGuest = Atomic<UInt64>(0)
    let bytesFromGuest = Atomic<UInt64>(0)

    var counters: RelayCounters {
        var result = RelayCounters()
        result.accepted = accepted.load(ordering: .relaxed)
        result.active = active.load(ordering: .relaxed)
        result.failed = failed.load(ordering: .relaxed)
        result.bytesToGuest = bytesToGuest.load(ordering: .relaxed)
        result.bytesFromGuest = bytesFromGuest.load(ordering: .relaxed)
        return result
    }
}

extension RelayTally {
    func addFailure() { failed.add(1, ordering: .relaxed) }

    func add(toGuest: UInt64, fromGuest: UInt64) {
        if toGuest > 0 { bytesToGuest.add(toGuest, ordering: .relaxed) }
        if fromGuest > 0 { bytesFromGuest.add(fromGuest, ordering: .relaxed) }
    }
}
