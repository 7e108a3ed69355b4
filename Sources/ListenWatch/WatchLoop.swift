internal import Linux
internal import Ports

/// The watcher's thread: reads hints, asks the kernel about what they concern, and merges the answers.
///
/// One turn of the loop sleeps until a hint comes or something is due. It then reads all hints into the schedule and
/// takes looks from it until none is due. Each look is one question to the kernel; its answer goes into the book, and
/// when the book has changed, the publisher hands out a table. A snapshot that fails changes nothing in the book: the
/// last table stays, marked as degraded, until one succeeds. Nothing here is shared with other threads but the board,
/// the stopper and the scanner.
final class WatchLoop {
    private let options: ListenWatcherOptions
    private let namespace: OwnNamespace
    private let poller: Poller
    private let board: TableBoard
    private var sources: WatchSources
    private var schedule = LookSchedule()
    private var book = ListenerBook()
    private var naming: ProcessNaming
    private var publisher: TablePublisher
    private var health = SnapshotHealth()
    private let suspension: SuspendClock
    private var nextHolderCheck: MonotonicTime

    /// Runs until `stopper` says so. `started` is called once: with nil after the first snapshot, or with the
    /// reason why there is nothing to run.
    static func run(
        _ options: ListenWatcherOptions, _ board: TableBoard, _ stopper: LoopStopper,
        started: (ListenWatchError?) -> Void
    ) {
        let loop: WatchLoop
        let waker: Waker
        do {
            try options.prepareThread()
            let poller = try Poller()
            waker = poller.waker
            loop = try WatchLoop(options, board, poller, waker)
        } catch {
            return started(ListenWatchError(description: "\(error)"))
        }
        stopper.attach(waker)
        defer { stopper.attach(nil) }
        WatchThread.prefer()
        started(nil)
        while !stopper.isStopped { loop.turn() }
        loop.naming.stop()
    }

    private init(
        _ options: ListenWatcherOptions, _ board: TableBoard, _ poller: Poller, _ waker: Waker
    ) throws {
        self.options = options
        self.poller = poller
        self.board = board
        namespace = OwnNamespace(processRoot: options.processRoot)
        naming = ProcessNaming(processRoot: options.processRoot, waker: waker)
        publisher = TablePublisher(board)
        suspension = try SuspendClock(
            timeSuspended: options.timeSuspended ?? { SuspendClock.timeSuspended })
        nextHolderCheck = .now + options.resyncInterval
        sources = try WatchSources(options, waker)
        try self.poller.watch(sources.descriptors + [suspension.descriptor])
        // The hints are on before the first snapshot, so nothing falls between.
        let first = try sources.snapshotter.listeners(in: .all) { [] }
        _ = book.replace(first, in: .all) { _ in nil }
        schedule.nextFull = .now + sources.interval(changed: true, cost: .zero)
        naming.nameOlder(in: &book, atOnce: options.namesProcessesFirst)
        publish()
    }

    /// One sleep and all the work that is due after it.
    private func turn() {
        let wake = schedule.next(.now) == nil ? sleep() : .unknown
        let batch = drain(wake)
        if suspension.wasSuspended() { reopenHints(because: "the machine was suspended") }
        var now = MonotonicTime.now
        mark(batch.hints, now)
        if now >= schedule.nextFull { scheduledLook() }
        while let look = schedule.next(now) {
            take(look)
            now = .now
        }
        if let due = sources.climbDue, now >= due { climb() }
        if sources.hasOutcome { takeOutcome() }
        if naming.takeFindings(into: &book) { publish() }
        if let due = naming.due, now >= due { naming.findRest(in: book) }
        if let due = publisher.due, now >= due { publish() }
    }

    private func sleep() -> Poller.Wake {
        let rest = schedule.rest(.now)
        var deadline = rest.until
        if rest.heedsHints {
            for due in [naming.due, publisher.due, sources.climbDue] {
                deadline = min(deadline, due ?? deadline)
            }
        }
        let wake = poller.wait(until: deadline, onlyTime: !rest.heedsHints)
        if let hints = sources.hints, hints.hasFailed(wake) {
            mend(sources.hintsFailed(true), because: "a descriptor of theirs reports an error")
        }
        if wake.mayBeReadable(suspension.descriptor) { suspension.clear() }
        return wake
    }

    /// Reads the hints; where some may be missing, it asks for looks at everything.
    private func drain(_ wake: Poller.Wake = .unknown) -> HintBatch {
        var batch = HintBatch()
        sources.hints?.drain(into: &batch, after: wake)
        if batch.needsRefresh { refreshHints() }
        let now = MonotonicTime.now
        if batch.lost { schedule.dirty.lookAtAll(after: [.zero], now: now) }
        if batch.lost || batch.nearlyFull { schedule.dirty.lookAtAll(after: DirtyPorts.trailing, now: now) }
        return batch
    }

    private func mark(_ hints: some Sequence<ListenHint>, _ now: MonotonicTime) {
        for hint in hints { schedule.dirty.mark(hint, now: now, isKnown: book.knows) }
    }

    /// Asks the kernel and merges the answer.
    private func take(_ look: DirtyPorts.Look) {
        let start = SystemClock.threadCPU
        do {
            let changed: Bool
            switch look {
            case .owners(let hints): changed = try lookUp(look, hints)
            case .ports(let range): changed = try dump(look, range).changed
            case .all: changed = try dump(look, .all).changed
            }
            if changed { publish() }
        } catch {
            failed(error)
        }
        schedule.paid(.nanoseconds(SystemClock.threadCPU - start), for: look, now: .now)
    }

    private func lookUp(_ look: DirtyPorts.Look, _ hints: [ListenHint]) throws(SnapshotFailed) -> Bool {
        var appeared: [ListeningSocket.Key] = []
        var visible: [ListenHint] = []
        var foreign: [ListenHint] = []
        for hint in hints {
            guard let port = hint.port,
                let row = try sources.snapshotter.listener(at: hint.address, port: port)
            else {
                if namespace.isForeign(hint) { foreign.append(hint) }
                continue
            }
            visible.append(hint)
            if let key = book.add(found: row, by: hint) { appeared.append(key) }
        }
        if !appeared.isEmpty { sources.hintsWorked() }
        naming.name(appeared, in: &book, callers: schedule.dirty.callers)
        schedule.dirty.answered(look, now: .now, isForeign: foreign.contains, isVisible: visible.contains)
        return !appeared.isEmpty
    }

    /// Returns whether the book has changed, and whether hints have come meanwhile.
    private func dump(
        _ look: DirtyPorts.Look, _ range: PortRange
    ) throws(SnapshotFailed) -> (changed: Bool, hadHints: Bool) {
        let rows = try sources.snapshotter.listeners(in: range) { book.observed(in: range) }
        // An event comes before its socket can be seen, so every row's is in by now. Closes that come with them
        // may be younger than the rows, so they are marked after the rows have settled the older ones.
        let batch = drain()
        let now = MonotonicTime.now
        mark(batch.hints.lazy.filter { $0.kind == .opened }, now)
        let (appeared, changed) = book.replace(rows, in: range) { schedule.dirty.hint(for: $0) }
        if appeared.contains(where: { book.entries[$0]?.socket.listenedAt != nil }) { sources.hintsWorked() }
        naming.name(appeared, in: &book, callers: schedule.dirty.callers)
        schedule.dirty.answered(look, now: now, isForeign: namespace.isForeign) { book.shows($0) }
        mark(batch.hints.lazy.filter { $0.kind == .closed }, now)
        return (changed, !batch.hints.isEmpty)
    }

    /// The look that no hint asked for: the poll, or the correction of what hints missed.
    private func scheduledLook() {
        refreshHints()
        let wasDirty = !schedule.dirty.isEmpty
        let start = SystemClock.threadCPU
        do {
            let (changed, hadHints) = try dump(.all, .all)
            let now = MonotonicTime.now
            let cost = Duration.nanoseconds(SystemClock.threadCPU - start)
            schedule.paid(cost, for: .all, now: now)
            schedule.nextFull = now + sources.interval(changed: changed, cost: cost)
            let recovered = health.worked()
            var renamed = false
            if now >= nextHolderCheck {
                nextHolderCheck = now + options.resyncInterval
                renamed = naming.recheck(&book)
            }
            if recovered { options.log("snapshots work again") }
            if changed || recovered || renamed { publish() }
            let wasMissed = changed && !wasDirty && !hadHints && schedule.dirty.isEmpty
            mend(sources.hintsFailed(wasMissed), because: "sockets changed without an event")
        } catch {
            failed(error)
        }
    }

    /// Lets the hint source adapt to the machine.
    private func refreshHints() {
        guard let hints = sources.hints else { return }
        do {
            if try changingSources(hints.refresh) { hintsWereOpened() }
        } catch {
            stepDown(because: error.description)
        }
    }

    private func mend(_ remedy: WatchSources.Remedy, because reason: String) {
        switch remedy {
        case .nothing: break
        case .reopen: reopenHints(because: reason)
        case .giveUp: stepDown(because: reason)
        }
    }

    /// Opens the hint source afresh, since what it has open may be dead.
    private func reopenHints(because reason: String) {
        guard let hints = sources.hints else { return }
        options.log("opening \(hints.push.rawValue) events again: \(reason)")
        do {
            try changingSources(hints.reopen)
            hintsWereOpened()
        } catch {
            stepDown(because: error.description)
        }
    }

    /// What happened before the hint source listened there came without a hint.
    private func hintsWereOpened() {
        schedule.dirty.lookAtAll(after: [.zero] + DirtyPorts.trailing, now: .now)
    }

    /// Goes over to hints that have been opened in the background. Those that came by the ones before are read first, and from
    /// then on both report the same, so none is lost; the look at everything is for what else may be.
    private func takeOutcome() {
        mark(drain().hints, .now)
        if changingSources({ sources.takeOutcome() }) { hintsWereOpened() }
        publish()
    }

    private func climb() {
        guard changingSources({ sources.climb() }) else { return }
        schedule.nextFull = .now
        publish()
    }

    /// Keeps the last table and says that it may be old.
    private func failed(_ error: SnapshotFailed) {
        if health.reason == nil { options.log("snapshot failed, keeping the last table: \(error)") }
        let isNews = health.failed(error)
        schedule.startOver(at: .now + health.retryDelay)
        if health.isPatienceOver, changingSources({ sources.fallBack(after: error) }) {
            schedule.nextFull = .now
        }
        if isNews { publish() }
    }

    private func stepDown(because reason: String) {
        changingSources { sources.stepDown(because: reason) }
        schedule.nextFull = .now
        publish()
    }

    /// Lets `change` open and close descriptors while none of them is watched. Of one that is closed while it is watched, the kernel
    /// may hold the file a little longer for the map of a program (RCU), and epoll would report its end over and over.
    private func changingSources<Result, Failure: Error>(
        _ change: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try? poller.watch([suspension.descriptor])
        defer { watchSources() }
        return try change()
    }

    private func watchSources() {
        do {
            try poller.watch(sources.descriptors + [suspension.descriptor])
        } catch {
            sources.stepDown(because: "\(error)")
            if sources.hints != nil { watchSources() }
        }
    }

    private func publish() {
        var source = sources.source
        source.degraded = health.reason ?? source.degraded
        board.means = TableBoard.Means(source: source, pushReason: sources.pushReason)
        publisher.publish(source) { book.sockets.filter { !options.hidden.contains($0.key) } }
    }
}
