internal import Ports

extension ForwardReconciler {
    /// Every forward there is or should be: static ones first, then by host port.
    package var forwards: [ForwardSnapshot] {
        sortedEntries.map { entry in
            var snapshot = entry.snapshot
            if snapshot.state == .blocked { snapshot.counters = binder.counters(of: entry.wanted.key) }
            if snapshot.state == .open, away[entry.wanted.key] != nil { snapshot.state = .held }
            return snapshot
        }
    }

    /// Tells the whole state to a reader who has missed events: `start` comes first, then an event for each forward, and
    /// no other in between.
    package func retell(after start: @Sendable () -> Void, to tell: @Sendable (ForwardEvent) -> Void) {
        start()
        if agent.isAway { tell(event(.agentLost, reason: agent.lostReason)) }
        for entry in sortedEntries {
            switch entry.state {
            case .open(_, _, let latency):
                tell(event(.opened, entry.actual, reason: entry.detour, latencyMicroseconds: latency))
            case .blocked(let blocked) where blocked.isAnnounced:
                tell(event(.blocked, entry.wanted, reason: blocked.reason, failure: blocked.failure))
            case .blocked: break
            case .asking: tell(event(.asked, entry.wanted, reason: ForwardEntry.question))
            }
        }
    }

    /// Tells the binder what there is to be: static forwards first, then by the guest's port. One that is asked about has no way
    /// to the guest, by name either; one that stays for its listener has its own until another one wants the guest's port.
    func note() {
        isNoteDue = false
        let decided = wantedInOrder.filter { !isWaiting($0.key) }
        // One that has its way may need an answer once the guest has told who listens; until then it stays as it is.
        var list = decided.filter { !$0.needsAnswer || entries[$0.key]?.isAsking == false }
        let staying = Set(away.keys).union(doubted.keys)
        let ports = staying.isEmpty ? [] : Set(decided.map(\.key.guestPort))
        for key in inOrder(staying) where !ports.contains(key.guestPort) {
            guard let entry = entries[key], !entry.isAsking else { continue }
            let place = list.firstIndex { $0.key.kind == .auto && $0.key.guestPort > key.guestPort }
            list.insert(entry.wanted, at: place ?? list.endIndex)
        }
        binder.note(wanted: list)
    }

    var sortedEntries: [ForwardEntry] {
        entries.values.sorted {
            ($0.wanted.key.kind == .auto ? 1 : 0, $0.actual.key.hostPort, $0.id)
                < ($1.wanted.key.kind == .auto ? 1 : 0, $1.actual.key.hostPort, $1.id)
        }
    }

    /// Keys by what they stand for: what happens depends on nothing else, such as how they are hashed.
    func inOrder(_ keys: some Sequence<WantedForward.Key>) -> [WantedForward.Key] {
        // What has no entry is wanted, and that is one forward for each port of the guest.
        let places = keys.map { ($0, entries[$0]?.id ?? .max) }
        return places.sorted {
            ($0.0.kind == .auto ? 1 : 0, $0.0.guestPort, $0.0.hostPort, $0.1)
                < ($1.0.kind == .auto ? 1 : 0, $1.0.guestPort, $1.0.hostPort, $1.1)
        }.map(\.0)
    }

    func send(
        _ name: ForwardEvent.Name, _ forward: WantedForward? = nil, reason: String? = nil,
        failure: BindFailure? = nil, latencyMicroseconds: UInt64? = nil
    ) {
        emit(
            event(
                name, forward, reason: reason, failure: failure, latencyMicroseconds: latencyMicroseconds))
    }

    func event(
        _ name: ForwardEvent.Name, _ forward: WantedForward? = nil, reason: String? = nil,
        failure: BindFailure? = nil, latencyMicroseconds: UInt64? = nil
    ) -> ForwardEvent {
        ForwardEvent(
            name: name, forward: forward?.key, listener: forward?.listener, rule: forward?.rule,
            reason: reason,
            failure: failure, latencyMicroseconds: latencyMicroseconds,
            timeMicroseconds: clock.wallMicroseconds())
    }
}
