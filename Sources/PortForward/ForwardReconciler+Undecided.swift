internal import Linux
internal import Ports

/// Forwards about which another rule may decide once the guest has told who listens: for a moment nothing changes.
extension ForwardReconciler {
    /// Whether a forward that is wanted is not to be opened yet.
    func mustWait(_ forward: WantedForward, _ now: UInt64) -> Bool {
        guard forward.isUndecided else { return false }
        let since = undecided[forward.key] ?? now
        undecided[forward.key] = since
        return now - since < limits.undecided.wholeNanoseconds
    }

    /// Whether a forward that is not wanted any more may be in a moment: the guest has told of a listener on its port, and not
    /// yet which. So an agent that was started again, which begins with what costs it nothing, closes no port.
    func isDoubted(_ entry: ForwardEntry, _ now: UInt64) -> Bool {
        let key = entry.wanted.key
        guard key.kind == .auto, policy.isUndecided(key.guestPort, in: table), !isWantedByOthers(entry)
        else {
            if doubted.removeValue(forKey: key) != nil { isNoteDue = true }
            return false
        }
        let since = doubted[key] ?? now
        doubted[key] = since
        return now - since < limits.undecided.wholeNanoseconds
    }

    /// Whether a forward of another port of the guest wants its host port.
    private func isWantedByOthers(_ entry: ForwardEntry) -> Bool {
        let port = entry.actual.key.hostPort
        guard claimedPorts.contains(port) else { return false }
        return wanted.keys.contains { $0.hostPort == port && $0.guestPort != entry.wanted.key.guestPort }
    }

    /// Whether a forward is wanted and waits for the guest's word.
    func isWaiting(_ key: WantedForward.Key) -> Bool {
        undecided[key] != nil && unsettled.contains(key) && entries[key] == nil
    }
}
