package import Ports

/// What became of a forward that was asked for at run time.
package enum AddOutcome: Hashable, Sendable {
    case opened
    /// It is there already.
    case wasThere
    /// Another static forward has the host port.
    case taken(StaticPort)
    /// The host port could not be opened, so the forward was not added.
    case failed(BindFailure, holder: PortHolder?)
}

/// Why a port that listens in the guest is not forwarded yet.
package enum HoldBack: Hashable, Sendable {
    /// It, or all ports together, have changed too often.
    case changesTooOften
    /// So many automatic forwards there are at most.
    case surplus(limit: Int)
}

extension ForwardReconciler {
    /// Goes by another policy from now on, but for the answers, which stay. A forward that was added at run time stays too, unless the
    /// policy has its host port.
    package func apply(_ policy: ForwardPolicy) {
        let before = self.policy
        added.removeAll { port in policy.staticPorts.contains { $0.collides(with: port) } }
        self.policy = policy
        self.policy.staticPorts += added
        self.policy.answers = before.answers
        for port in policy.staticPorts
        where !before.staticPorts.contains(where: { $0.isSameForward(as: port) }) {
            giveWay(to: port)
        }
        // No other will follow.
        if policy.autoPorts == nil { table = nil }
        reconcile(self.policy.wanted(in: table))
    }

    /// Forwards a port from now on, if that can be done at once. An automatic forward of the same host port gives way.
    package func add(_ port: StaticPort) async -> AddOutcome {
        let rivals = policy.staticPorts.filter { $0.collides(with: port) }
        if let rival = rivals.first {
            return rival.isSameForward(as: port) ? .wasThere : .taken(rival)
        }
        policy.staticPorts.append(port)
        giveWay(to: port)
        reconcile(policy.wanted(in: table))
        guard case .blocked(let blocked)? = entries[WantedForward.Key(port)]?.state else {
            added.append(port)
            return .opened
        }
        // Before anything else can run here, so that nobody hears of it.
        policy.staticPorts.removeAll { $0 == port }
        reconcile(policy.wanted(in: table))
        let address = blocked.failure.address
        let holders = blocked.failure.isBusy ? await binder.holders(of: [address]) : [:]
        return .failed(blocked.failure, holder: holders[address])
    }

    /// Closes the automatic forward on this host port that may be on another one; it goes there with the next table or
    /// change.
    private func giveWay(to port: StaticPort) {
        for entry in sortedEntries where entry.actual.key.hostPort == port.host {
            guard entry.wanted.key.onConflict == .next, case .open = entry.state else { continue }
            close(entry, reason: "the host port becomes a static forward's", unopenedReason: "")
        }
    }

    /// Forwards a port no longer, whoever may connect to it; false when there is no such static forward.
    package func remove(_ port: StaticPort) -> Bool {
        guard policy.staticPorts.contains(where: { $0.isSameForward(as: port) }) else { return false }
        policy.staticPorts.removeAll { $0.isSameForward(as: port) }
        added.removeAll { $0.isSameForward(as: port) }
        reconcile(policy.wanted(in: table))
        return true
    }

    /// What there should be, with the changes made at run time.
    package var currentPolicy: ForwardPolicy { policy }

    /// The rule that decides about a port of the guest, as far as the newest table tells.
    package func rule(for port: PortNumber) -> PortRule? { policy.rule(for: port, in: table) }

    /// Why a port of the newest table has no automatic forward although it should have one; nil when that is not so.
    package func holdBack(of port: PortNumber) -> HoldBack? {
        let key = policy.wanted(in: table).map(\.key).first { $0.kind == .auto && $0.guestPort == port }
        guard let key, entries[key] == nil, undecided[key] == nil else { return nil }
        return wanted[key] == nil ? .surplus(limit: policy.maxAutoPorts) : .changesTooOften
    }
}
