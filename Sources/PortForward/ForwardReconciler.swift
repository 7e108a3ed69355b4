internal import Linux
package import Ports

/// Makes the host's open ports what the policy wants for the guest's newest table: whole tables in, events out.
///
/// Every event tells what has already happened. A port that can't be bound holds up no other. `run` must be
/// running for blocked ports to be tried again and for the grace to end.
package actor ForwardReconciler {
    package struct Timing: Sendable {
        /// How long automatic forwards stay without word from the agent.
        package var grace = Duration.seconds(5)
        /// Between two tries of a port that somebody holds.
        package var busyRetry = Duration.milliseconds(50)
        /// Between two tries of one that can't be bound for another reason.
        package var otherRetry = Duration.seconds(1)

        package init() {}
    }

    private enum Agent {
        /// Not heard of yet.
        case unknown
        /// Its tables hold.
        case following
        /// CLOCK_MONOTONIC nanoseconds of the loss, and whether a new connection already stands.
        case lost(since: UInt64, isBack: Bool)
    }

    private let policy: ForwardPolicy
    private let binder: any ForwardBinder
    private let timing: Timing
    private let clock: ForwardClock
    private let emit: @Sendable (ForwardEvent) -> Void

    private var entries: [WantedForward.Key: ForwardEntry] = [:]
    private var lastID: UInt64 = 0
    private var agent = Agent.unknown
    private var instanceID: String?
    private var bootID: String?
    private var connectedAt: UInt64 = 0
    /// Why the agent was lost last.
    private var lostReason: String?
    private var hostMinusGuest: Int64?
    private var isStopped = false

    private let timeChanges = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let blockChanges = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    /// - Parameter emit: gets every event, in order; must not wait.
    package init(
        policy: ForwardPolicy, binder: any ForwardBinder, timing: Timing = Timing(),
        clock: ForwardClock, emit: @escaping @Sendable (ForwardEvent) -> Void
    ) {
        self.policy = policy
        self.binder = binder
        self.timing = timing
        self.clock = clock
        self.emit = emit
    }

    // MARK: What comes in

    /// Opens the static forwards.
    package func start() { reconcile(policy.wanted(in: nil)) }

    /// A connection to the agent stands. Its table is still to come, so nothing is closed yet.
    package func agentConnected(instanceID: String, bootID: String) {
        let now = clock.monotonic()
        let isNewInstance = self.instanceID.map { $0 != instanceID } ?? false
        let isNewBoot = self.bootID.map { $0 != bootID } ?? false
        self.instanceID = instanceID
        self.bootID = bootID
        connectedAt = now
        guard case .lost(let since, false) = agent else { return }
        agent = .lost(since: since, isBack: true)
        if isNewInstance {
            // Tunnels to the former agent are dead, and after a reboot nothing may ever say so.
            binder.resetConnections(acceptedBefore: since)
        }
        let reason: String? =
            isNewBoot ? "the guest was rebooted" : isNewInstance ? "the agent was started again" : nil
        send(.agentBack, reason: reason)
    }

    /// The agent's newest table replaces the one before.
    ///
    /// - Parameter hostMinusGuest: what turns the guest's CLOCK_MONOTONIC into the host's, in nanoseconds;
    ///   nil when unknown, and latencies with it.
    package func apply(_ table: ListenTable, hostMinusGuest: Int64? = nil) {
        agent = .following
        self.hostMinusGuest = hostMinusGuest
        reconcile(policy.wanted(in: table))
    }

    /// The connection to the agent is gone or can't be made; says so once.
    package func agentLost(reason: String) {
        switch agent {
        case .unknown, .lost(_, isBack: false): return
        case .lost(let since, isBack: true): agent = .lost(since: since, isBack: false)
        case .following: agent = .lost(since: clock.monotonic(), isBack: false)
        }
        lostReason = reason
        send(.agentLost, reason: reason)
        timeChanges.continuation.yield()
    }

    /// Tells the whole state again, for a reader who has missed events: `start` comes first, then an event for each
    /// forward, and no other in between.
    package func retell(after start: @Sendable () -> Void) {
        start()
        if case .lost(_, isBack: false) = agent { send(.agentLost, reason: lostReason) }
        for entry in sortedEntries {
            switch entry.state {
            case .open(_, let latency): send(.opened, entry.wanted, latencyMicroseconds: latency)
            case .blocked(let blocked) where blocked.isAnnounced:
                send(.blocked, entry.wanted, reason: blocked.reason, failure: blocked.failure)
            case .blocked: break
            }
        }
    }

    /// Closes every forward; nothing opens any more.
    package func stop() {
        reconcile([])
        isStopped = true
    }

    /// Every forward there is or should be: static ones first, then by host port.
    package var forwards: [ForwardSnapshot] { sortedEntries.map(\.snapshot) }

    private var sortedEntries: [ForwardEntry] {
        entries.values.sorted {
            ($0.wanted.key.kind == .auto ? 1 : 0, $0.wanted.key.hostPort, $0.id)
                < ($1.wanted.key.kind == .auto ? 1 : 0, $1.wanted.key.hostPort, $1.id)
        }
    }

    // MARK: Time

    /// Tries blocked ports again, ends the grace and finds out who holds ports, until its task is cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                for await _ in self.blockChanges.stream { await self.announceBlocked() }
            }
            var changes = timeChanges.stream.makeAsyncIterator()
            while !Task.isCancelled {
                if let next = tick() {
                    let pause = min(next - min(next, clock.monotonic()), timing.busyRetry.wholeNanoseconds)
                    try? await Task.sleep(for: .nanoseconds(pause))
                } else {
                    // Ends with nil when the task is cancelled.
                    guard await changes.next(isolation: self) != nil else { return }
                }
            }
            group.cancelAll()
        }
    }

    /// Does what is due; returns when to come again, nil for not before something changes.
    @discardableResult
    package func tick() -> UInt64? {
        let now = clock.monotonic()
        var next: UInt64?
        if case .lost(let since, _) = agent {
            let end = since &+ timing.grace.wholeNanoseconds
            if now >= end {
                closeAutomatic()
            } else {
                next = end
            }
        }
        for (key, entry) in entries {
            guard case .blocked(let blocked) = entry.state else { continue }
            if blocked.retryAt <= now { retry(key, entry, blocked, now) }
            if case .blocked(let still)? = entries[key]?.state { next = min(next ?? .max, still.retryAt) }
        }
        return next
    }

    /// Finds the holders of newly blocked ports and tells; other forwards go on meanwhile.
    package func announceBlocked() async {
        let fresh = entries.values.compactMap { entry -> (UInt64, WantedForward.Key, HostAddress)? in
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
            blocked.isAnnounced = true
            blocked.holder = holders[address]
            entries[key]?.state = .blocked(blocked)
            send(.blocked, entry.wanted, reason: blocked.reason, failure: blocked.failure)
        }
    }

    // MARK: Wanted and actual

    private func reconcile(_ wanted: [WantedForward]) {
        guard !isStopped else { return }
        let keys = Set(wanted.map(\.key))
        // Closing goes first: a port that changes its forward must be free for the new one.
        for (key, entry) in entries where !keys.contains(key) { close(key, entry) }
        for forward in wanted {
            if entries[forward.key] == nil {
                open(forward)
            } else {
                entries[forward.key]?.wanted = forward
            }
        }
    }

    private func open(_ forward: WantedForward) {
        lastID += 1
        do throws(BindFailure) {
            let bound = try binder.bind(forward.key)
            opened(bound, forward, id: lastID)
        } catch {
            let retryAt = clock.monotonic() &+ interval(after: error)
            entries[forward.key] = ForwardEntry(
                id: lastID, wanted: forward, state: .blocked(.init(failure: error, retryAt: retryAt)))
            blockChanges.continuation.yield()
            timeChanges.continuation.yield()
        }
    }

    private func retry(
        _ key: WantedForward.Key, _ entry: ForwardEntry, _ blocked: ForwardEntry.Blocked, _ now: UInt64
    ) {
        do throws(BindFailure) {
            opened(try binder.bind(key), entry.wanted, id: entry.id)
        } catch {
            var blocked = blocked
            blocked.retryAt = now &+ interval(after: error)
            if error.isBusy != blocked.failure.isBusy {
                // Another reason than the one told: tell again.
                blocked.isAnnounced = false
                blockChanges.continuation.yield()
            }
            blocked.failure = error
            entries[key]?.state = .blocked(blocked)
        }
    }

    private func opened(_ bound: any BoundForward, _ forward: WantedForward, id: UInt64) {
        let latency = latencyMicroseconds(of: forward.listener)
        entries[forward.key] = ForwardEntry(
            id: id, wanted: forward, state: .open(bound, latencyMicroseconds: latency))
        send(.opened, forward, latencyMicroseconds: latency)
    }

    private func close(_ key: WantedForward.Key, _ entry: ForwardEntry, reason: String? = nil) {
        entries[key] = nil
        // A port that never opened needs no farewell.
        guard case .open(let bound, _) = entry.state else { return }
        bound.close()
        send(.closed, entry.wanted, reason: reason)
    }

    private func closeAutomatic() {
        for (key, entry) in entries where key.kind == .auto {
            close(key, entry, reason: "the agent is lost")
        }
    }

    private func interval(after failure: BindFailure) -> UInt64 {
        (failure.isBusy ? timing.busyRetry : timing.otherRetry).wholeNanoseconds
    }

    /// A listener older than the connection tells nothing of how fast this side is.
    private func latencyMicroseconds(of listener: ListeningSocket?) -> UInt64? {
        guard let listenedAt = listener?.listenedAt, let hostMinusGuest else { return nil }
        let listened = listenedAt &+ UInt64(bitPattern: hostMinusGuest)
        guard listened >= connectedAt else { return nil }
        let now = clock.monotonic()
        return (now - min(now, listened)) / 1000
    }

    private func send(
        _ name: ForwardEvent.Name, _ forward: WantedForward? = nil, reason: String? = nil,
        failure: BindFailure? = nil, latencyMicroseconds: UInt64? = nil
    ) {
        emit(
            ForwardEvent(
                name: name, forward: forward?.key, listener: forward?.listener, reason: reason,
                failure: failure, latencyMicroseconds: latencyMicroseconds,
                timeMicroseconds: clock.wallMicroseconds()))
    }
}
