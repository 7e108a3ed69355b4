internal import Linux
internal import Ports

/// Forwards that stay for a while without a listener in the guest, as its rule's `hold` says: their clients wait, at the host
/// port and by name. What listens again in time finds its forward as it was.
extension ForwardReconciler {
    /// Whether a forward that is not wanted any more stays for now, open or blocked. One whose host port another forward wants
    /// gives way; one on whose port another program listens would lead there.
    func isHeld(_ entry: ForwardEntry, _ now: UInt64) -> Bool {
        let key = entry.wanted.key
        guard let hold = key.settings.hold, !entry.isAsking, !isInTheWay(entry),
            table?.listeners(on: key.guestPort).isEmpty ?? true
                || policy.isUndecided(key.guestPort, in: table)
        else { return false }
        let end = away[key] ?? now + hold.wholeNanoseconds
        if away.updateValue(end, forKey: key) == nil { timeChanges.continuation.yield() }
        return now < end
    }

    /// The listener of a forward is there, or there again.
    func comeBack(_ key: WantedForward.Key, _ now: UInt64) {
        let wasAway = away.removeValue(forKey: key) != nil
        guard let entry = entries[key] else { return }
        switch entry.state {
        case .open(let bound, _, _): bound.retryHeld()
        // One that is not tried again by itself is when its listener comes again.
        case .blocked(let blocked) where wasAway && key.onConflict == .fail: retry(entry, blocked, now)
        case .blocked, .asking: break
        }
    }

    /// A listener of which the guest has not told all yet is taken for that of the forward which is held for it: a rule that
    /// asks for the program can't match it so soon.
    func recognised(_ all: [WantedForward]) -> [WantedForward] {
        let held = entries.values.lazy.filter { $0.wanted.key.settings.hold != nil }
        // One whose listener was there until now, else the last one.
        let known = Dictionary(held.map { ($0.wanted.key.guestPort, $0) }) { one, other in
            let (isAway, isOtherAway) = (away[one.wanted.key] != nil, away[other.wanted.key] != nil)
            return isAway == isOtherAway ? (one.id > other.id ? one : other) : isAway ? other : one
        }
        guard !known.isEmpty else { return all }
        return all.map { forward in
            guard forward.isUndecided, let before = known[forward.key.guestPort]?.wanted else {
                return forward
            }
            let isAnswered = policy.answers[forward.key.guestPort] != nil
            return WantedForward(
                key: before.key, listener: forward.listener, rule: before.rule,
                isAskedAbout: before.isAskedAbout, needsAnswer: before.isAskedAbout && !isAnswered)
        }
    }
}
