internal import Synchronization

/// What went through one listener so far.
package struct RelayCounters: Hashable, Sendable {
    /// Connections accepted since the listener was added.
    package var accepted: UInt64 = 0
    /// Connections open now.
    package var active: UInt64 = 0
    /// Connections that never got as far as relaying: refused, timed out, or the other end could not be reached.
    package var failed: UInt64 = 0
    /// Dials that were put off because the other end's backlog or this process's descriptors were used up.
    package var putOff: UInt64 = 0
    /// Bytes from the accepted to the dialled end.
    package var bytesForth: UInt64 = 0
    /// Bytes from the dialled to the accepted end.
    package var bytesBack: UInt64 = 0

    package init() {}
}

/// The counters as the event loops write them. Each is exact; together they are no snapshot.
final class RelayTally: Sendable {
    let accepted = Atomic<UInt64>(0)
    let active = Atomic<UInt64>(0)
    let failed = Atomic<UInt64>(0)
    let putOff = Atomic<UInt64>(0)
    let bytesForth = Atomic<UInt64>(0)
    let bytesBack = Atomic<UInt64>(0)

    var counters: RelayCounters {
        var result = RelayCounters()
        result.accepted = accepted.load(ordering: .relaxed)
        result.active = active.load(ordering: .relaxed)
        result.failed = failed.load(ordering: .relaxed)
        result.putOff = putOff.load(ordering: .relaxed)
        result.bytesForth = bytesForth.load(ordering: .relaxed)
        result.bytesBack = bytesBack.load(ordering: .relaxed)
        return result
    }
}

extension RelayTally {
    /// Notes a connection that begins.
    func addActive() {
        accepted.add(1, ordering: .relaxed)
        active.add(1, ordering: .relaxed)
    }

    func removeActive() { active.subtract(1, ordering: .relaxed) }

    /// Notes a client that was not admitted.
    func addRefusal() {
        accepted.add(1, ordering: .relaxed)
        addFailure()
    }

    func addFailure() { failed.add(1, ordering: .relaxed) }

    func add(forth: UInt64, back: UInt64) {
        if forth > 0 { bytesForth.add(forth, ordering: .relaxed) }
        if back > 0 { bytesBack.add(back, ordering: .relaxed) }
    }
}
