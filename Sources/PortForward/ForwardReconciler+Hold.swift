internal import Linux
internal import Ports

/// Forwards that stay for a while without a listener in the guest, as its rule's `hold` says: their clients wait. What
/// listens again in time finds its forward open.
extension ForwardReconciler {
    /// Whether an open forward that is not wanted any more stays for now. One whose host port another forward wants gives
    /// way.
    func isHeld(_ entry: ForwardEntry, _ now: UInt64) -> Bool {
        guard let hold = entry.wanted.key.settings.hold, case .open = entry.state, !isInTheWay(entry) else {
            return false
        }
        let key = entry.wanted.key
        let end = away[key] ?? now + hold.wholeNanoseconds
        if away.updateValue(end, forKey: key) == nil { timeChanges.continuation.yield() }
        return now < end
    }

    /// The listener of an open forward is there, or there again.
    func comeBack(_ key: WantedForward.Key) {
        away[key] = nil
        guard case .open(let bound, _, _)? = entries[key]?.state else { return }
        bound.retryHeld()
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
