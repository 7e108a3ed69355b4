internal import Linux
internal import Ports

/// Host ports that cannot be bound: who holds them is told, and they are tried again.
extension ForwardReconciler {
    /// Finds the holders of newly blocked ports and tells; other forwards go on meanwhile.
    package func announceBlocked() async {
        let fresh = sortedEntries.compactMap { entry -> (UInt64, WantedForward.Key, HostAddress)? in
            guard case .blocked(let blocked) = entry.state, !blocked.isAnnounced else { return nil }
            return (entry.id, entry.wanted.key, blocked.failure.address)
        }
        guard !fresh.isEmpty else { return }
        let holders = await binder.holders(of: fresh.map(\.2))
        for (id, key, address) in fresh {
            // It may have been opened, closed, or replaced in the meantime.
            guard let entry = entries[key], entry.id == id, case .blocked(var blocked) = entry.state,
                !blocked.isAnnounced
            else { continue }
            (blocked.isAnnounced, blocked.wasTold) = (true, true)
            blocked.holder = holders[address]
            entries[key]?.state = .blocked(blocked)
            send(.blocked, entry.wanted, reason: blocked.reason, failure: blocked.failure)
        }
    }

    /// Tries the blocked ports that are due, as far as one turn may go; returns when the next one is due.
    func retryBlocked(_ now: UInt64) -> UInt64? {
        let end = now + limits.retryTimePerTurn.wholeNanoseconds
        var tries = 0
        while tries < limits.retriesPerTurn, clock.monotonic() <= end, let item = retries.takeDue(at: now) {
            guard let entry = entries[item.key], entry.id == item.id, case .blocked(let blocked) = entry.state
            else { continue }
            // Nobody is told that a port opens while nothing listens; and where host and guest are one, as with an agent of
            // this host, its listener would find its port taken.
            if away[item.key] != nil {
                retryLater(entry, blocked.failure, now)
                continue
            }
            tries += 1
            retry(entry, blocked, now)
        }
        return retries.nextAt
    }

    func retry(_ entry: ForwardEntry, _ blocked: ForwardEntry.Blocked, _ now: UInt64) {
        do throws(BindFailure) {
            let (bound, port) = try bind(entry.wanted.key)
            blockedCount -= 1
            opened(bound, on: port, entry.wanted, id: entry.id)
        } catch {
            var blocked = blocked
            if error.isBusy != blocked.failure.isBusy {
                // Another reason than the one told: tell again.
                blocked.isAnnounced = false
                blockChanges.continuation.yield()
            }
            blocked.failure = error
            entries[entry.wanted.key]?.state = .blocked(blocked)
            retryLater(entry, error, now)
        }
    }

    func retryLater(_ entry: ForwardEntry, _ failure: BindFailure, _ now: UInt64) {
        guard entry.wanted.key.onConflict != .fail else { return }
        retries.add(.init(at: now + interval(after: failure), key: entry.wanted.key, id: entry.id))
    }

    private func interval(after failure: BindFailure) -> UInt64 {
        let one = (failure.isBusy ? limits.busyRetry : limits.otherRetry).wholeNanoseconds
        return max(one, blockedCount * limits.retryShare.wholeNanoseconds)
    }
}
