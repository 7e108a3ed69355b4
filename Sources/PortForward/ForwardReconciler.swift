internal import Linux
package import Ports

/// Makes the host's open ports what the policy wants for the guest's newest table: whole tables in, events out.
///
/// Every event tells what has already happened. A port that can't be bound holds up no other. `run` must be running for
/// blocked ports to be tried again, for changes that had to wait, and for the grace to end.
///
/// While the agent is lost (`AgentPresence`), what listens in the guest is unknown: automatic forwards stay until `grace` has
/// passed since the loss, then they close. `ForwardEntry` says what one forward goes through.
///
/// A port whose rule asks is told and not opened until the user answers: ForwardReconciler+Ask.swift.
///
/// A port that changes too often is left as it is for a while and then made what is wanted by then; see `ChangeLimits`.
/// Which host port is taken: ForwardReconciler+HostPort.swift; when a blocked one is tried again:
/// ForwardReconciler+Blocked.swift. The policy can change while it runs: ForwardReconciler+Changes.swift. What is due when:
/// ForwardReconciler+Time.swift. What waits for the guest's word: ForwardReconciler+Undecided.swift. What there is and what
/// is told: ForwardReconciler+State.swift.
package actor ForwardReconciler {
    var policy: ForwardPolicy
    /// Those of its static ports that were added at run time.
    var added: [StaticPort] = []
    let binder: any ForwardBinder
    let limits: ForwardLimits
    let clock: ForwardClock
    let emit: @Sendable (ForwardEvent) -> Void

    /// The newest one, as long as it holds.
    var table: ListenTable?
    /// The newest table's forwards, static ones first, then by the guest's port. They are what `entries` is, but for the keys that
    /// wait in `unsettled`.
    var wantedInOrder: [WantedForward] = [] {
        didSet {
            wanted = Dictionary(wantedInOrder.map { ($0.key, $0) }) { first, _ in first }
            claimed = nil
        }
    }
    /// The same by their keys.
    private(set) var wanted: [WantedForward.Key: WantedForward] = [:]
    var entries: [WantedForward.Key: ForwardEntry] = [:]
    var unsettled: Set<WantedForward.Key> = []
    /// When forwards were wanted first that another rule may decide about.
    var undecided: [WantedForward.Key: UInt64] = [:]
    /// Forwards that may be meant by what the guest has not told yet, and since when they stay for that.
    var doubted: [WantedForward.Key: UInt64] = [:]
    /// Forwards whose listener is gone, and until when they stay for it; ForwardReconciler+Hold.swift.
    var away: [WantedForward.Key: UInt64] = [:]
    /// The binder has still to be told what there is to be.
    var isNoteDue = false
    /// `claimedPorts`, once asked for.
    var claimed: Set<PortNumber>?
    private var changes: ChangeLimits
    private var automaticCount = 0
    var blockedCount: UInt64 = 0
    var retries = RetryQueue()
    private var surplus = SurplusNotice()
    private var lastID: UInt64 = 0

    var agent = AgentPresence()
    private var isStopped = false

    let timeChanges = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let blockChanges = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// - Parameter emit: gets every event, in order; must not wait.
    package init(
        policy: ForwardPolicy, binder: any ForwardBinder, limits: ForwardLimits = ForwardLimits(),
        clock: ForwardClock, emit: @escaping @Sendable (ForwardEvent) -> Void
    ) {
        self.policy = policy
        self.binder = binder
        self.limits = limits
        self.clock = clock
        self.emit = emit
        changes = ChangeLimits(limits)
    }

    // MARK: What comes in

    /// Opens the static forwards.
    package func start() { reconcile(policy.wanted(in: nil)) }

    /// A connection to the agent stands. Its table is still to come, so nothing is closed yet.
    ///
    /// - Parameter startedAt: when this agent was started, in nanoseconds of the host's CLOCK_MONOTONIC; nil from an
    ///   agent that does not tell.
    package func agentConnected(instanceID: String, bootID: String, startedAt: UInt64? = nil) {
        let back = agent.connected(instanceID: instanceID, bootID: bootID, at: clock.monotonic())
        // Without automatic forwards no table follows.
        if policy.autoPorts == nil { agent.followed(hostMinusGuest: nil) }
        guard let back else { return }
        if back.isNewInstance {
            // Tunnels to the former agent are dead, and after a reboot nothing may ever say so. Those accepted after
            // this one's start go through it and are well: the loss may have been noticed seconds later.
            binder.resetConnections(acceptedBefore: startedAt ?? back.lostSince)
        } else {
            // The guest may have slept, and tells nobody of the vsock connections that it loses then.
            binder.findLostConnections()
        }
        let reason: String? =
            back.isNewBoot
            ? "the guest was rebooted" : back.isNewInstance ? "the agent was started again" : nil
        send(.agentBack, reason: reason)
    }

    /// The agent's newest table replaces the one before.
    ///
    /// - Parameter hostMinusGuest: what turns the guest's CLOCK_MONOTONIC into the host's, in nanoseconds;
    ///   nil when unknown, and latencies with it.
    package func apply(_ table: ListenTable, hostMinusGuest: Int64? = nil) {
        agent.followed(hostMinusGuest: hostMinusGuest)
        self.table = table
        reconcile(policy.wanted(in: table))
    }

    /// The connection to the agent is gone or can't be made; says so once.
    package func agentLost(reason: String) {
        guard agent.lost(reason: reason, at: clock.monotonic()) else { return }
        send(.agentLost, reason: reason)
        timeChanges.continuation.yield()
    }

    /// Closes every forward; nothing opens any more.
    package func stop() {
        isStopped = true
        (wantedInOrder, unsettled) = ([], [])
        binder.note(wanted: [])
        for entry in sortedEntries { close(entry, unopenedReason: "forwarding has ended") }
    }

    // MARK: Wanted and actual

    func reconcile(_ all: [WantedForward]) {
        guard !isStopped else { return }
        let now = clock.monotonic()
        let list = withoutSurplus(recognised(all), now)
        wantedInOrder = list
        unsettled = []
        if !undecided.isEmpty { undecided = undecided.filter { wanted[$0.key]?.isUndecided == true } }
        // Closing goes first: a port that changes its forward must be free for the new one.
        for key in inOrder(entries.keys.filter { wanted[$0] == nil }) { settle(key, now) }
        for forward in list {
            if entries[forward.key] == nil {
                settle(forward.key, now)
            } else {
                entries[forward.key]?.wanted = forward
                doubted[forward.key] = nil
                settle(forward.key, now)
                if forward.key.settings.hold != nil { comeBack(forward.key, now) }
            }
        }
        changes.forget(at: now)
        note()
        if !unsettled.isEmpty { timeChanges.continuation.yield() }
    }

    /// The forwards without the automatic ones that are too many: those that there are stay, then low ports come first.
    private func withoutSurplus(_ list: [WantedForward], _ now: UInt64) -> [WantedForward] {
        let automatic = list.filter { $0.key.kind == .auto }
        let count = automatic.count - policy.maxAutoPorts
        if surplus.isNews(count, at: now) {
            let reason = """
                the guest listens on \(automatic.count) ports, and \(policy.maxAutoPorts) are forwarded at most \
                (auto_ports.max, --max): \(count) are left out
                """
            send(.limited, reason: reason)
        }
        guard count > 0 else { return list }
        let present = automatic.filter { entries[$0.key] != nil }
        let fresh = automatic.filter { entries[$0.key] == nil }
        return list.filter { $0.key.kind == .static }
            + (present + fresh).prefix(policy.maxAutoPorts).sorted { $0.key.guestPort < $1.key.guestPort }
    }

    func settleWaiting(_ now: UInt64) {
        guard !unsettled.isEmpty else { return }
        let keys = inOrder(unsettled)
        unsettled = []
        for key in keys where wanted[key] == nil { settle(key, now) }
        for key in keys where wanted[key] != nil { settle(key, now) }
        changes.forget(at: now)
    }

    /// Opens or closes one port, or leaves it for later if it has changed too often.
    func settle(_ key: WantedForward.Key, _ now: UInt64) {
        let (entry, forward) = (entries[key], wanted[key])
        if let entry, let forward { return follow(entry, forward, now) }
        guard entry != nil || forward != nil else { return }
        if let entry, isHeld(entry, now) { return }
        if let entry, isDoubted(entry, now) {
            unsettled.insert(key)
            return
        }
        if let forward, mustWait(forward, now) {
            unsettled.insert(key)
        } else if key.kind == .auto, !(entry.map(isInTheWay) ?? false),
            !mayChange(key, opens: forward != nil, now)
        {
            unsettled.insert(key)
        } else if let forward {
            open(forward)
        } else if let entry {
            close(entry, unopenedReason: "nothing listens there in the guest any more")
        }
    }

    func mayChange(_ key: WantedForward.Key, opens: Bool, _ now: UInt64) -> Bool {
        // Its place may still be taken by a port that has to wait to be closed.
        if opens, automaticCount >= policy.maxAutoPorts { return false }
        switch changes.take(key, at: now) {
        case .allowed: return true
        case .port(let isNews):
            if isNews { send(.limited, WantedForward(key: key), reason: limits.portReason) }
        case .all(let isNews):
            if isNews { send(.limited, reason: limits.allReason) }
        }
        return false
    }

    func open(_ forward: WantedForward) {
        lastID += 1
        if forward.key.kind == .auto { automaticCount += 1 }
        if forward.isUndecided { isNoteDue = true }
        if forward.needsAnswer { return ask(forward, id: lastID) }
        do throws(BindFailure) {
            let (bound, port) = try bind(forward.key)
            opened(bound, on: port, forward, id: lastID)
        } catch {
            blockedCount += 1
            let entry = ForwardEntry(id: lastID, wanted: forward, state: .blocked(.init(failure: error)))
            entries[forward.key] = entry
            retryLater(entry, error, clock.monotonic())
            blockChanges.continuation.yield()
            timeChanges.continuation.yield()
        }
    }

    func opened(_ bound: any BoundForward, on port: PortNumber, _ forward: WantedForward, id: UInt64) {
        // A static forward does not wait for its listener, so how old that is says nothing.
        let latency =
            forward.key.kind == .auto
            ? agent.latencyMicroseconds(of: forward.listener, at: clock.monotonic()) : nil
        let entry = ForwardEntry(
            id: id, wanted: forward, state: .open(bound, on: port, latencyMicroseconds: latency))
        entries[forward.key] = entry
        send(.opened, entry.actual, reason: entry.detour, latencyMicroseconds: latency)
    }

    /// - Parameter unopenedReason: told of a port that was never open, if it was told of at all.
    func close(_ entry: ForwardEntry, reason: String? = nil, unopenedReason: String) {
        entries[entry.wanted.key] = nil
        let (wasAway, wasDoubted) = (
            away.removeValue(forKey: entry.wanted.key), doubted.removeValue(forKey: entry.wanted.key)
        )
        if wasAway != nil || wasDoubted != nil { isNoteDue = true }
        if entry.wanted.key.kind == .auto { automaticCount -= 1 }
        switch entry.state {
        case .open(let bound, _, _):
            bound.close()
            send(.closed, entry.actual, reason: reason)
        case .blocked(let blocked):
            blockedCount -= 1
            if blockedCount == 0 { retries = RetryQueue() }
            if blocked.wasTold {
                send(.closed, entry.wanted, reason: unopenedReason, failure: blocked.failure)
            } else if blocked.wasAsked {
                sendUnasked(entry, unopenedReason)
            }
        case .asking: sendUnasked(entry, unopenedReason)
        }
    }

    private func sendUnasked(_ entry: ForwardEntry, _ reason: String) {
        var closed = event(.closed, entry.wanted, reason: reason)
        closed.wasAsked = true
        emit(closed)
    }

    /// Takes an entry away that was asked about, without a word.
    func withdraw(_ entry: ForwardEntry) {
        entries[entry.wanted.key] = nil
        automaticCount -= 1
    }

    func closeAutomatic() {
        table = nil
        wantedInOrder = wantedInOrder.filter { $0.key.kind == .static }
        unsettled = unsettled.filter { $0.kind == .static }
        undecided = [:]
        for entry in sortedEntries where entry.wanted.key.kind == .auto {
            close(entry, reason: "the agent is lost", unopenedReason: "the agent is lost")
        }
        note()
    }
}
