internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// One event loop: an epoll instance, its connections and their resources, confined to one thread.
final class RelayLoop {
    /// Time slice of the loop's thread, in nanoseconds: the shortest that the kernel grants (sched_setattr(2)). A
    /// woken loop then soon gets a core from a program that computes or moves bulk.
    private static let slice: UInt64 = 100_000
    /// A loop counts as busy with bulk for so long after its last turn of it; nanoseconds.
    private static let bulkMemory: UInt64 = 10_000_000
    private static let retryInterval: UInt64 = 2_000_000
    private static let pauseInterval: UInt64 = 20_000_000

    let resources: RelayResources
    let halfClosedTimeout: UInt64
    private let handshakeTimeout: UInt64
    private let options: RelayOptions
    private let inbox: LoopInbox
    private let peers: [LoopInbox]
    private let total: RelayTotal
    private let log: @Sendable (String) -> Void

    private var connections: [RelayConnection?] = []
    private var generations: [UInt32] = []
    private var freeSlots: [Int] = []
    private var queue: [EventToken] = []
    private var now = SystemClock.monotonic
    /// No connection's deadline is earlier.
    private var nextDeadline = UInt64.max
    private var retrying: [EventToken] = []
    private var retryAt = UInt64.max
    private var paused: [RelayListener] = []
    private var resumeAt = UInt64.max
    private var saidExhausted = false
    private var stopped: (@Sendable () -> Void)?

    init(
        _ options: RelayOptions, inbox: LoopInbox, peers: [LoopInbox], total: RelayTotal,
        log: @escaping @Sendable (String) -> Void
    ) {
        self.options = options
        self.inbox = inbox
        self.peers = peers
        self.total = total
        self.log = log
        resources = RelayResources(options)
        handshakeTimeout = options.handshakeTimeout.wholeNanoseconds
        halfClosedTimeout = options.halfClosedTimeout.wholeNanoseconds
    }

    /// Runs until a stop command.
    func run() {
        // Without it the loop works as well, only later on a busy machine.
        _ = clinux_set_slice(Self.slice)
        let events = UnsafeMutableBufferPointer<epoll_event>.allocate(capacity: 128)
        defer { events.deallocate() }
        while stopped == nil {
            let count = inbox.wait(events, milliseconds: waitingTime)
            now = SystemClock.monotonic
            for event in events[..<count] {
                handle(EventToken(rawValue: event.data.u64), event.events)
            }
            resumeQueued()
            handleTimers()
            if freeSlots.count == connections.count { resources.pipes.closeIdle() }
        }
        finish()
    }

    // MARK: Services for connections

    func arm(_ connection: RelayConnection, after time: UInt64) {
        connection.deadline = now &+ time
        nextDeadline = min(nextDeadline, connection.deadline)
    }

    func disarm(_ connection: RelayConnection) { connection.deadline = .max }

    /// Has a connection try to dial again shortly, if the error is one that passes; its deadline bounds this.
    func retryLater(_ connection: RelayConnection, after error: SystemError) -> Bool {
        switch error.code {
        // A unix socket's backlog is full (connect(2)); or no descriptors are left for now.
        case EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM: break
        default: return false
        }
        retrying.append(connection.token)
        retryAt = min(retryAt, now &+ Self.retryInterval)
        return true
    }

    // MARK: Events

    private func handle(_ token: EventToken, _ events: UInt32) {
        if token == .wake {
            inbox.takeCommands().forEach(obey)
        } else if let number = token.listener {
            if let listener = inbox.listener(number) { accept(from: listener) }
        } else if let connection = connection(token) {
            if token.isTunnelSide { connection.tunnel.note(events) } else { connection.local.note(events) }
            // Bulk waits until everything else that is ready has had its turn.
            if connection.isBulk { enqueue(connection) } else { advance(connection) }
        }
    }

    private func obey(_ command: LoopInbox.Command) {
        switch command {
        case .adopt(let fd, let listener): begin(OwnedDescriptor(owning: fd), listener)
        case .reset(let time):
            for case let connection? in connections where connection.acceptedAt < time {
                _ = connection.abort()
                remove(connection)
            }
        case .stop(let done): stopped = done
        }
    }

    private func connection(_ token: EventToken) -> RelayConnection? {
        guard token.slot < connections.count, let connection = connections[token.slot],
            connection.token == token.localSide
        else { return nil }
        return connection
    }

    private func advance(_ connection: RelayConnection) {
        let verdict = connection.advance(self)
        if verdict == .done { return remove(connection) }
        guard
            watch(&connection.tunnel, connection.token.tunnelSide),
            watch(&connection.local, connection.token.localSide)
        else {
            _ = connection.stage == .relaying ? connection.abort() : connection.fail()
            return remove(connection)
        }
        if verdict == .yielded { enqueue(connection) }
    }

    /// Has the kernel report the changes of a socket that there is a reason to wait for, once each (EPOLLET).
    ///
    /// Called after a turn: the bytes are on their way by then.
    private func watch(_ end: inout RelayEnd, _ token: EventToken) -> Bool {
        guard let events = end.missingEvents else { return true }
        do throws(SystemError) {
            try inbox.watch(end.fd, events, token, isWatched: end.watched != 0)
            end.noteWatched(events)
            return true
        } catch {
            log("relay: \(error)")
            return false
        }
    }

    private func enqueue(_ connection: RelayConnection) {
        guard !connection.isQueued else { return }
        connection.isQueued = true
        queue.append(connection.token)
    }

    /// Gives one connection its turn; then new events are looked at again, for small streams go first.
    private func resumeQueued() {
        guard !queue.isEmpty else { return }
        guard let connection = connection(queue.removeFirst()) else { return }
        connection.isQueued = false
        if connection.isBulk { inbox.lastBulk.store(now, ordering: .relaxed) }
        advance(connection)
    }

    // MARK: Connections

    private func accept(from listener: RelayListener) {
        for _ in 0..<options.acceptsPerTurn {
            guard total.connections.load(ordering: .relaxed) < options.maxConnections else {
                return pause(listener, "\(options.maxConnections) connections are open")
            }
            switch listener.accept() {
            case .none:
                saidExhausted = false
                return
            case .exhausted(let error): return pause(listener, "\(error)")
            case .connection(let descriptor):
                total.connections.add(1, ordering: .relaxed)
                listener.tally.accepted.add(1, ordering: .relaxed)
                listener.tally.active.add(1, ordering: .relaxed)
                give(descriptor, listener)
            }
        }
    }

    /// Hands a new connection to a loop without bulk, and to the one with the least of them among equals; this
    /// one wins ties, for it is awake.
    private func give(_ descriptor: consuming OwnedDescriptor, _ listener: RelayListener) {
        func isBusy(_ inbox: LoopInbox) -> Bool {
            inbox.lastBulk.load(ordering: .relaxed) &+ Self.bulkMemory > now
        }
        var best = (inbox: inbox, isBusy: isBusy(inbox), load: inbox.load.load(ordering: .relaxed) - 1)
        for peer in peers where peer !== inbox {
            let candidate = (inbox: peer, isBusy: isBusy(peer), load: peer.load.load(ordering: .relaxed))
            let isBetter =
                candidate.isBusy == best.isBusy ? candidate.load < best.load : best.isBusy
            if isBetter { best = candidate }
        }
        best.inbox.load.add(1, ordering: .relaxed)
        if best.inbox === inbox {
            begin(descriptor, listener)
        } else {
            let fd = descriptor.release()
            guard !best.inbox.post(.adopt(fd, listener)) else { return }
            // The loop is ending, and so will this one.
            _ = OwnedDescriptor(owning: fd)
            forget(listener, best.inbox)
        }
    }

    private func begin(_ descriptor: consuming OwnedDescriptor, _ listener: RelayListener) {
        let slot = freeSlots.popLast() ?? connections.count
        if slot == connections.count {
            connections.append(nil)
            generations.append(0)
        }
        generations[slot] &+= 1
        let token = EventToken(slot: slot, generation: generations[slot])
        let transport = Transport(listener.address)
        let connection: RelayConnection
        var isAllowed = true
        switch listener.role {
        case .host:
            connection = RelayConnection(listener: listener, token: token, stage: .dialling, acceptedAt: now)
            connection.local.open(descriptor, transport, accepted: true)
        case .guest(let policy):
            isAllowed = policy.admits(peerOf: descriptor.rawValue, transport)
            connection = RelayConnection(
                listener: listener, token: token, stage: .readingPreamble, acceptedAt: now)
            connection.tunnel.open(descriptor, transport, accepted: true)
        }
        connections[slot] = connection
        guard isAllowed else {
            _ = connection.fail()
            return remove(connection)
        }
        arm(connection, after: handshakeTimeout)
        advance(connection)
    }

    private func remove(_ connection: RelayConnection) {
        let slot = connection.token.slot
        connection.release(self)
        connections[slot] = nil
        freeSlots.append(slot)
        forget(connection.listener, inbox)
    }

    private func forget(_ listener: RelayListener, _ loop: LoopInbox) {
        loop.load.subtract(1, ordering: .relaxed)
        total.connections.subtract(1, ordering: .relaxed)
        listener.tally.active.subtract(1, ordering: .relaxed)
    }

    // MARK: Time

    private var waitingTime: Int32 {
        guard queue.isEmpty else { return 0 }
        let next = min(nextDeadline, retryAt, resumeAt)
        guard next < .max else { return -1 }
        guard next > now else { return 0 }
        return Int32(clamping: (next - now + 999_999) / 1_000_000)
    }

    private func handleTimers() {
        if now >= retryAt {
            retryAt = .max
            let turn = retrying
            retrying = []
            turn.compactMap(connection).forEach(advance)
        }
        if now >= resumeAt {
            resumeAt = .max
            let turn = paused
            paused = []
            turn.forEach(resume)
        }
        if now >= nextDeadline { expire() }
    }

    /// Deadlines are few and far off, so a walk over all connections when the first is due costs less than a
    /// queue kept in order for each.
    private func expire() {
        nextDeadline = .max
        for case let connection? in connections {
            if connection.deadline <= now {
                _ = connection.stage == .relaying ? connection.abort() : connection.fail()
                remove(connection)
            } else {
                nextDeadline = min(nextDeadline, connection.deadline)
            }
        }
    }

    private func pause(_ listener: RelayListener, _ reason: String) {
        if !saidExhausted { log("relay: accepting pauses: \(reason)") }
        saidExhausted = true
        listener.pause()
        paused.append(listener)
        resumeAt = min(resumeAt, now &+ Self.pauseInterval)
    }

    private func resume(_ listener: RelayListener) {
        do throws(SystemError) {
            try listener.resume()
        } catch {
            pause(listener, "\(error)")
        }
    }

    private func finish() {
        let (commands, listeners) = inbox.stop()
        listeners.forEach { $0.close() }
        for command in commands {
            switch command {
            case .adopt(let fd, let listener):
                _ = OwnedDescriptor(owning: fd)
                forget(listener, inbox)
            case .reset: break
            case .stop(let done): done()
            }
        }
        for case let connection? in connections {
            _ = connection.abort()
            remove(connection)
        }
        resources.pipes.closeIdle()
        stopped?()
    }
}
