package import Ports

/// Ports whose rule asks the user first: they are told, and not open until the user says yes.
extension ForwardReconciler {
    /// Notes what the user says about a port of the guest; nil forgets it, and a port that is there is asked about again.
    /// What is open and may not be any more is closed before this returns.
    package func answer(_ answer: PortConsent?, about port: PortNumber) {
        policy.answers[port] = answer
        if answer == .deny {
            let denied = sortedEntries.filter { $0.wanted.key.guestPort == port && $0.wanted.isAskedAbout }
            for entry in denied { close(entry, reason: "it is denied", unopenedReason: "it is denied") }
        }
        reconcile(policy.wanted(in: table))
    }

    /// Makes a forward that was or is to be asked about what it is to be now: another program, of which another rule decides,
    /// may listen there, or the user has answered.
    func follow(_ entry: ForwardEntry, _ forward: WantedForward, _ now: UInt64) {
        guard entry.isAsking != forward.needsAnswer else { return }
        // The guest may tell in a moment that it is the program which was there before.
        guard !mustWait(forward, now) else {
            unsettled.insert(forward.key)
            return
        }
        if entry.isAsking {
            // It has a place already. Until it may change it stays as it was told.
            guard mayChange(forward.key, opens: false, now) else {
                unsettled.insert(forward.key)
                return
            }
            withdraw(entry)
            // Since listen() somebody has thought about it; that says nothing of how fast ports open.
            var opening = forward
            opening.listener?.listenedAt = nil
            open(opening)
            if case .blocked(var blocked)? = entries[forward.key]?.state {
                blocked.wasAsked = true
                entries[forward.key]?.state = .blocked(blocked)
            }
        } else {
            close(entry, reason: "its rule asks first", unopenedReason: "its rule asks first")
            isNoteDue = true
            settle(forward.key, now)
        }
    }

    func ask(_ forward: WantedForward, id: UInt64) {
        let entry = ForwardEntry(id: id, wanted: forward, state: .asking)
        entries[forward.key] = entry
        send(.asked, forward, reason: ForwardEntry.question)
    }
}
