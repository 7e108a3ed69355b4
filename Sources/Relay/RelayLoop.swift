internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// One event loop: an epoll instance, its connections and their resources, confined to one thread.
final class RelayLoop {
    let resources: RelayResources
    let options: RelayOptions
    private let inbox: LoopInbox
    private let peers: [LoopInbox]
    let total: RelayTotal
    private let log: @Sendable (String) -> Void

    private(set) var connections = ConnectionTable()
    private var queue: [EventToken] = []
    private(set) var now = SystemClock.monotonic
    /// No connection's deadline is earlier.
    private var nextDeadline = UInt64.max
    private var retrying: [EventToken] = []
    private var retryAt = UInt64.max
    /// Connections whose outbox may wait, some of which have sent it since; and until when.
    private var patient: [EventToken] = []
    private var patientUntil = UInt64.max
    private var paused: [RelayListener] = []
    private var resumeAt = UInt64.max
    /// Not before this are pipes and buffers taken back again.
    private var reclaimAt: UInt64 = 0
    private var saidExhausted = false
    /// Connections that may still be accepted in this turn.
    private var acceptsLeft = 0
    /// Connections were accepted in this turn, or in the one before.
    private var hasAccepted = (now: false, before: false)
    /// Accepted tunnels and arriving clients that have shown nothing yet, oldest first; some of them have shown it, or ended, since.
    private var silent: [EventToken] = []
    private var silentCount = 0
    var held = HeldClients()
    var spares = SpareTunnels()
    var serverSockets = ServerSockets()
    private var isStopped = false
    private var stopWaiters: [@Sendable () -> Void] = []

    init(
        _ options: RelayOptions, inbox: LoopInbox, peers: [LoopInbox], total: RelayTotal,
        log: @escaping @Sendable (String) -> Void
    ) {
        self.options = options
        self.inbox = inbox
        self.peers = peers.filter { $0 !== inbox }
        self.total = total
        self.log = log
        resources = RelayResources(options)
    }

    /// Runs until a stop command.
    func run() {
        // Without it the loop works as well, only later on a busy machine.
        _ = clinux_set_slice(UInt64(options.threadSlice.wholeNanoseconds))
        let events = UnsafeMutableBufferPointer<epoll_event>.allocate(capacity: 128)
        defer { events.deallocate() }
        while !isStopped {
            let count = inbox.wait(events, milliseconds: waitingTime)
            now = SystemClock.monotonic
            // A listener most often has one connection, and a look for another costs more than it brings. The kernel reports
            // it again while there are more; then all are taken.
            hasAccepted = (false, hasAccepted.now)
            acceptsLeft = hasAccepted.before ? options.acceptsPerTurn : 1
            for event in events[..<count] {
                handle(EventToken(rawValue: event.data.u64), event.events)
            }
            resumeQueued()
            handleTimers()
            if connections.count == 0 {
                resources.pipes.closeIdle()
                serverSockets.close()
            }
        }
        finish()
    }

    // MARK: Services for connections

    func arm(_ connection: RelayConnection, after time: Duration) {
        connection.deadline = now &+ time.wholeNanoseconds
        nextDeadline = min(nextDeadline, connection.deadline)
    }

    func disarm(_ connection: RelayConnection) { connection.deadline = .max }

    /// Has a connection dial again shortly, if the error is one that passes; its deadline bounds this.
    func retryLater(_ connection: RelayConnection, after error: SystemError) -> Bool {
        // EAGAIN: a unix socket's backlog is full (connect(2)).
        guard error.code == EAGAIN || error.isExhaustion else { return false }
        connection.isRetrying = true
        connection.target.tally.putOff.add(1, ordering: .relaxed)
        retrying.append(connection.token)
        retryAt = min(retryAt, now &+ options.retryInterval.wholeNanoseconds)
        return true
    }

    /// Ends a connection's patience soon.
    func remind(_ connection: RelayConnection) {
        patient.append(connection.token)
        patientUntil = min(patientUntil, now &+ options.patience.wholeNanoseconds)
    }

    /// Takes a connection whose peer has shown that it may speak, or where it wants to go, off the list of those that have not.
    func admit(_ connection: RelayConnection) {
        connection.isSilent = false
        silentCount -= 1
        arm(connection, after: options.handshakeTimeout)
    }

    /// Takes a socket out of the loop, which hears nothing of it any more. Without an owner this process's descriptor closes;
    /// where another process has the socket too, nothing happens to the connection.
    @discardableResult
    func detach(_ end: inout RelayEnd) -> OwnedDescriptor? {
        ignore(&end)
        return end.detach()
    }

    /// Hears nothing of a socket any more until it is watched again.
    func ignore(_ end: inout RelayEnd) {
        if end.watched != 0 { inbox.ignore(end.fd) }
        end.noteIgnored()
    }

    // MARK: Events

    private func handle(_ token: EventToken, _ events: UInt32) {
        if token == .wake {
            for command in inbox.takeCommands() { obey(command) }
        } else if let number = token.listener {
            if let listener = inbox.listener(number) { accept(from: listener) }
        } else if let connection = connections[token] {
            if token.isTunnelSide { connection.tunnel.note(events) } else { connection.local.note(events) }
            // Bulk waits until everything else that is ready has had its turn.
            if connection.isBulk { enqueue(connection) } else { advance(connection) }
        }
    }

    private func obey(_ command: LoopInbox.Command) {
        switch command {
        case .adopt(let fd, let target): begin(OwnedDescriptor(owning: fd), target)
        case .reset(let time):
            spares.closeAll()
            // Those that are held have no tunnel to a former agent.
            for connection in connections.all where connection.acceptedAt < time && !connection.wait.isHeld {
                _ = connection.abort()
                remove(connection)
            }
        case .findLostTunnels:
            spares.closeAll()
            // A handshake has a deadline of its own.
            for connection in connections.all where connection.isRelaying { connection.tunnel.findLoss() }
        case .retryHeld: retryHeld()
        case .stop(let done):
            isStopped = true
            stopWaiters.append(done)
        }
    }

    func advance(_ connection: RelayConnection) {
        let verdict = connection.advance(self)
        if verdict == .done { return remove(connection) }
        guard
            watch(&connection.tunnel, connection.token.tunnelSide),
            watch(&connection.local, connection.token.localSide)
        else {
            connection.end()
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

    /// Gives one connection its turn; then new events are looked at again, since small streams go first.
    private func resumeQueued() {
        guard !queue.isEmpty else { return }
        guard let connection = connections[queue.removeFirst()] else { return }
        connection.isQueued = false
        if connection.isBulk { inbox.lastBulk.store(now, ordering: .relaxed) }
        advance(connection)
    }

    // MARK: Connections

    private func accept(from listener: RelayListener) {
        let asks = listener.target.role.admitsClient != nil
        while acceptsLeft > 0 {
            guard hasRoom else {
                return pause(listener, "\(options.maxDescriptors) descriptors are in use")
            }
            switch listener.accept() {
            case .none:
                saidExhausted = false
                return
            case .exhausted(let error): return pause(listener, "\(error)")
            case .refused: acceptsLeft -= 1
            case .connection(let descriptor):
                acceptsLeft -= 1
                hasAccepted.now = true
                // Whose a client is that has closed already can be asked for some 40 ms only: all are asked first.
                give(descriptor, listener.target, atOnce: !asks || !hasAccepted.before)
            }
        }
    }

    /// Hands a new connection to a loop without bulk, and among equals to the one with the fewest connections. This one
    /// wins ties: it is awake.
    ///
    /// - Parameter atOnce: else it has its turn here after what is ready now.
    private func give(_ descriptor: consuming OwnedDescriptor, _ target: RelayTarget, atOnce: Bool) {
        func isBusy(_ inbox: LoopInbox) -> Bool {
            inbox.lastBulk.load(ordering: .relaxed) &+ options.bulkMemory.wholeNanoseconds > now
        }
        var best = (inbox: inbox, isBusy: isBusy(inbox), load: inbox.load.load(ordering: .relaxed) - 1)
        for peer in peers {
            let candidate = (inbox: peer, isBusy: isBusy(peer), load: peer.load.load(ordering: .relaxed))
            let isBetter = candidate.isBusy == best.isBusy ? candidate.load < best.load : best.isBusy
            if isBetter { best = candidate }
        }
        guard best.inbox !== inbox else { return begin(descriptor, target, atOnce: atOnce) }
        let fd = descriptor.release()
        // Where that loop is ending, so will this one.
        if !best.inbox.post(.adopt(fd, target)) { _ = OwnedDescriptor(owning: fd) }
    }

    /// Whether one more connection fits into the bound on descriptors.
    private var hasRoom: Bool {
        total.hasRoom(options)
    }

    private func begin(_ descriptor: consuming OwnedDescriptor, _ target: RelayTarget, atOnce: Bool = true) {
        total.connections.add(1, ordering: .relaxed)
        target.tally.addActive()
        inbox.load.add(1, ordering: .relaxed)
        let (now, transport, fd) = (now, target.transport, descriptor.rawValue)
        let connection = connections.add {
            RelayConnection(target: target, token: $0, acceptedAt: now, accepted: fd)
        }
        switch target.role.tunnel {
        case .dialled where target.role.entrance != nil:
            connection.local.open(descriptor, transport, accepted: true)
            noteSilent(connection)
            arm(connection, after: options.silenceTimeout)
        case .dialled:
            connection.local.open(descriptor, transport, accepted: true)
            arm(connection, after: options.handshakeTimeout)
        case .accepted:
            let isAllowed = target.role.admits(peerOf: descriptor.rawValue, transport)
            connection.tunnel.open(descriptor, transport, accepted: true)
            guard isAllowed else {
                connection.end()
                return remove(connection)
            }
            noteSilent(connection)
            arm(connection, after: options.silenceTimeout)
        }
        if atOnce { advance(connection) } else { enqueue(connection) }
    }

    /// Bounds the accepted sockets that have shown nothing yet: a flood of them closes its own.
    private func noteSilent(_ connection: RelayConnection) {
        connection.isSilent = true
        silentCount += 1
        while let first = silent.first,
            connections[first]?.isSilent != true || silentCount > options.maxSilent
        {
            silent.removeFirst()
            guard let oldest = connections[first], oldest.isSilent else { continue }
            oldest.end()
            remove(oldest)
        }
        silent.append(connection.token)
    }

    func remove(_ connection: RelayConnection) {
        if connection.isSilent { silentCount -= 1 }
        connection.release(self)
        connections.remove(connection)
        inbox.load.subtract(1, ordering: .relaxed)
        total.connections.subtract(1, ordering: .relaxed)
        connection.target.tally.removeActive()
    }

    // MARK: Time

    private var waitingTime: Int32 {
        guard queue.isEmpty else { return 0 }
        let next = min(nextDeadline, retryAt, resumeAt, patientUntil, held.nextTry, spares.nextDeadline)
        guard next < .max else { return -1 }
        guard next > now else { return 0 }
        return Int32(clamping: (next - now + 999_999) / 1_000_000)
    }

    private func handleTimers() {
        if now >= retryAt {
            retryAt = .max
            let turn = retrying
            retrying = []
            for connection in turn.compactMap({ connections[$0] }) {
                connection.isRetrying = false
                advance(connection)
            }
        }
        if now >= patientUntil {
            patientUntil = .max
            let turn = patient
            patient = []
            for connection in turn.compactMap({ connections[$0] }) where connection.isPatient {
                connection.isPatient = false
                advance(connection)
            }
        }
        if now >= held.nextTry { serveHeld() }
        if now >= resumeAt {
            resumeAt = .max
            let turn = paused
            paused = []
            for listener in turn { resume(listener) }
        }
        if now >= spares.nextDeadline { spares.expire(now) }
        if now >= nextDeadline { expire() }
        if resources.isShort, now >= reclaimAt { reclaim() }
    }

    /// Takes pipes and buffers back from connections whose readers have paused, so that they can't slow others down.
    private func reclaim() {
        resources.isShort = false
        reclaimAt = now &+ options.reclaimInterval.wholeNanoseconds
        for connection in connections.all where connection.isRelaying { connection.spill(resources) }
    }

    /// Deadlines are few and far off, so a walk over all connections when the first is due costs less than a
    /// queue kept in order for each.
    private func expire() {
        for connection in connections.all where connection.deadline <= now {
            connection.end()
            remove(connection)
        }
        nextDeadline = connections.nextDeadline
    }

    private func pause(_ listener: RelayListener, _ reason: String) {
        if !saidExhausted { log("relay: accepting pauses: \(reason)") }
        saidExhausted = true
        listener.pause()
        paused.append(listener)
        resumeAt = min(resumeAt, now &+ options.pauseInterval.wholeNanoseconds)
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
        for listener in listeners { listener.close() }
        for command in commands {
            switch command {
            case .adopt(let fd, _): _ = OwnedDescriptor(owning: fd)
            case .reset, .findLostTunnels, .retryHeld: break
            case .stop(let done): stopWaiters.append(done)
            }
        }
        for connection in connections.all {
            _ = connection.abort()
            remove(connection)
        }
        spares.closeAll()
        resources.pipes.closeIdle()
        serverSockets.close()
        for answer in stopWaiters { answer() }
    }
}
