internal import Linux
internal import Ports
internal import ProcNet

/// The watcher's thread: reads hints, asks the kernel about what they concern, publishes what changed.
///
/// Nothing here is shared with other threads but the board, the stopper and the scanner.
final class WatchLoop {
    /// Single questions that are cheaper than a dump, allowed between two dumps.
    private static let lookupsPerDump = 4
    /// New listeners whose process is named before they are published, each by this many descriptors at most.
    private static let namedAtOnce = 2
    private static let descriptorsAtOnce: Int32 = 64
    /// The others have to wait until nothing has appeared for this long: in a storm most are gone by then.
    private static let namingPause = Duration.milliseconds(10)
    private static let namedLater = 8
    private static let descriptorsLater: Int32 = 1024
    /// How many times its own cost a publication keeps the next one waiting: 2 % of a core at most, but never so
    /// long that one that was slow by accident holds up what follows.
    private static let publishPause = 50
    private static let longestPublishPause = Duration.milliseconds(250)
    /// Failed snapshots in a row before netlink is given up, where the mode was left open.
    private static let patience = 3
    /// Looks on schedule for each check of the holders, which costs more than the look itself.
    private static let looksPerHolderCheck = 3

    private let options: ListenWatcherOptions
    private let board: TableBoard
    private let scanner: ProcessScanner
    private let holders: SocketHolders
    private let namespace: OwnNamespace
    private let poller: Poller
    private var sources: WatchSources
    private var dirty = DirtyPorts()
    private var book = ListenerBook()

    /// New listeners whose process was not proved at once, with the callers that may hold them.
    private var unnamed: [(key: ListeningSocket.Key, inode: UInt64, callers: [Int32])] = []
    /// Processes whose descriptors were searched in vain just now: they have many, or make sockets only to close them.
    private var slowCallers: Set<Int32> = []
    private var nameRestAt = MonotonicTime.now
    private var degraded: String?
    private var failures = 0
    private var looksUntilHolderCheck = WatchLoop.looksPerHolderCheck
    private var nextScheduled = MonotonicTime.now
    private var mayPublishAt = MonotonicTime.now
    private var isPublishOwed = false
    private var dumps = DumpBudget()
    private var lookupsLeft = WatchLoop.lookupsPerDump

    /// Runs until `stopper` says so. `started` is called once: with nil after the first snapshot, or with the
    /// reason why there is nothing to run.
    static func run(
        _ options: ListenWatcherOptions, _ board: TableBoard, _ stopper: LoopStopper,
        started: (ListenWatchError?) -> Void
    ) {
        let loop: WatchLoop
        let waker: SharedWaker
        do {
            try options.prepareThread()
            let poller = try Poller()
            waker = SharedWaker(try poller.makeWaker())
            loop = try WatchLoop(options, board, poller, waker)
        } catch {
            return started(ListenWatchError(description: "\(error)"))
        }
        stopper.attach(waker)
        defer { stopper.attach(nil) }
        WatchThread.prefer()
        started(nil)
        while !stopper.isStopped { loop.turn() }
        loop.scanner.stop()
    }

    private init(
        _ options: ListenWatcherOptions, _ board: TableBoard, _ poller: Poller, _ waker: SharedWaker
    ) throws {
        self.options = options
        self.board = board
        self.poller = poller
        holders = SocketHolders(root: options.processRoot)
        namespace = OwnNamespace(processRoot: options.processRoot)
        scanner = ProcessScanner(holders: holders, waker: waker)
        sources = try WatchSources(options)
        try self.poller.watch(sources.descriptors)
        // The hints are on before the first snapshot, so nothing falls between.
        let first = try sources.snapshotter.listeners(in: .all)
        _ = book.replace(first, in: .all) { _ in nil }
        nextScheduled = .now + sources.interval(changed: true, cost: .zero)
        nameOlderListeners()
        publish()
    }

    /// One sleep and all the work that is due after it.
    private func turn() {
        var now = MonotonicTime.now
        if dirty.look(now: now, mayDump: dumps.allow(now), lookups: lookupsLeft) == nil {
            // Work that is due but must wait for the next dump: more hints would only wake us for nothing.
            let isHeldBack = dirty.nextDue.map { $0 <= now } ?? false
            let healthy = poller.wait(
                until: isHeldBack ? dumps.nextAllowed : nextDeadline, onlyTime: isHeldBack)
            if !healthy { refreshSources(unhealthy: true) }
        }
        let batch = drain()
        now = .now
        for hint in batch.hints { dirty.mark(hint, now: now, isKnown: book.knows) }
        if now >= nextScheduled { scheduledLook() }
        while let look = dirty.look(now: now, mayDump: dumps.allow(now), lookups: lookupsLeft) {
            take(look)
            now = .now
        }
        takeFindings()
        if !unnamed.isEmpty, now >= nameRestAt { nameRest() }
        if isPublishOwed, now >= mayPublishAt { publish() }
    }

    /// When there is work although nobody wakes us.
    private var nextDeadline: MonotonicTime {
        var deadline = min(dirty.nextDue ?? nextScheduled, nextScheduled)
        if !unnamed.isEmpty { deadline = min(deadline, nameRestAt) }
        if isPublishOwed { deadline = min(deadline, mayPublishAt) }
        return deadline
    }

    /// Reads the hints; where some may be missing, it asks for looks at everything.
    private func drain() -> HintBatch {
        var batch = HintBatch()
        do {
            try sources.hints?.drain(into: &batch)
        } catch {
            stepDown(because: error.description)
        }
        let now = MonotonicTime.now
        if batch.lost { dirty.lookAtAll(after: [.zero], now: now) }
        if batch.lost || batch.nearlyFull { dirty.lookAtAll(after: DirtyPorts.trailing, now: now) }
        return batch
    }

    /// Asks the kernel and merges the answer.
    private func take(_ look: DirtyPorts.Look) {
        let start = Duration.nanoseconds(SystemClock.threadCPU)
        do {
            let changed: Bool
            switch look {
            case .owners(let hints): changed = try lookUp(look, hints)
            case .ports(let range): changed = try dump(look, range)
            case .all: changed = try dump(look, .all)
            }
            if changed { publish() }
        } catch {
            failed(error)
        }
        if case .owners = look {
            lookupsLeft -= 1
        } else {
            dumps.spend(Duration.nanoseconds(SystemClock.threadCPU) - start, now: .now)
            lookupsLeft = Self.lookupsPerDump
        }
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
        name(appeared)
        dirty.answered(look, now: .now, isForeign: foreign.contains, isVisible: visible.contains)
        return !appeared.isEmpty
    }

    private func dump(_ look: DirtyPorts.Look, _ range: PortRange) throws(SnapshotFailed) -> Bool {
        let rows = try sources.snapshotter.listeners(in: range)
        // An event comes before its socket can be seen, so every row's is in by now. Closes that come with them
        // may be younger than the rows, so they are marked after the rows have settled the older ones.
        let batch = drain()
        let now = MonotonicTime.now
        for hint in batch.hints where hint.kind == .opened {
            dirty.mark(hint, now: now, isKnown: book.knows)
        }
        let (appeared, changed) = book.replace(rows, in: range) { dirty.hint(for: $0) }
        name(appeared)
        dirty.answered(look, now: now) { book.shows($0) }
        for hint in batch.hints where hint.kind == .closed {
            dirty.mark(hint, now: now, isKnown: book.knows)
        }
        return changed
    }

    /// The look that no hint asked for: the poll, or the correction of what hints missed.
    private func scheduledLook() {
        refreshSources(unhealthy: false)
        let hadHints = !dirty.isEmpty
        let start = Duration.nanoseconds(SystemClock.threadCPU)
        do {
            let changed = try dump(.all, .all)
            let now = MonotonicTime.now
            let cost = Duration.nanoseconds(SystemClock.threadCPU) - start
            dumps.spend(cost, now: now)
            nextScheduled = now + sources.interval(changed: changed, cost: cost)
            let recovered = degraded != nil
            (degraded, failures) = (nil, 0)
            looksUntilHolderCheck -= 1
            let renamed = looksUntilHolderCheck == 0 && checkHolders()
            if recovered { options.log("snapshots work again") }
            if changed || recovered || renamed { publish() }
            if sources.hintsMissed(changed && !hadHints && dirty.isEmpty) {
                stepDown(because: "sockets changed without an event")
            }
        } catch {
            failed(error)
        }
    }

    /// Lets the hint source adapt; one that reports an error and has nothing to adapt to is lost.
    private func refreshSources(unhealthy: Bool) {
        guard let hints = sources.hints else { return }
        do {
            if try hints.refresh() {
                watchSources()
            } else if unhealthy {
                stepDown(because: "its descriptor reports an error")
            }
        } catch {
            stepDown(because: error.description)
        }
    }

    /// Keeps the last table and says that it may be old.
    private func failed(_ error: SnapshotFailed) {
        if degraded == nil { options.log("snapshot failed, keeping the last table: \(error)") }
        let isNews = degraded != error.description
        degraded = error.description
        failures += 1
        // Everything is in doubt until a look at everything succeeds.
        dirty = DirtyPorts()
        nextScheduled = .now + min(.milliseconds(100) * (1 << min(failures, 6)), .seconds(5))
        if failures >= Self.patience, sources.fallBack(after: error) {
            options.log("falling back to procfs")
            watchSources()
            nextScheduled = .now
        }
        if isNews { publish() }
    }

    private func stepDown(because reason: String) {
        sources.stepDown(because: reason)
        watchSources()
        nextScheduled = .now
        publish()
    }

    private func watchSources() {
        do {
            try poller.watch(sources.descriptors)
        } catch {
            sources.stepDown(because: "\(error)")
        }
    }

    /// Hands out the table. A big one costs its readers more than it cost us, so the next may have to wait.
    private func publish() {
        let now = MonotonicTime.now
        isPublishOwed = now < mayPublishAt
        if isPublishOwed { return }
        let start = Duration.nanoseconds(SystemClock.threadCPU)
        defer {
            let pause = (Duration.nanoseconds(SystemClock.threadCPU) - start) * Self.publishPause
            mayPublishAt = now + min(pause, Self.longestPublishPause)
        }
        var source = sources.source
        source.degraded = degraded
        let next = ListenTable(
            revision: board.table.revision + 1, source: source, listeners: book.sockets)
        if !next.sameContent(as: board.table) || next.revision == 1 { board.publish(next) }
    }

    // MARK: Processes

    /// Names the processes of new listeners from their events, as far as that is quickly done.
    private func name(_ keys: [ListeningSocket.Key]) {
        for (index, key) in keys.enumerated() {
            guard let entry = book.entries[key], entry.inode != 0 else { continue }
            let callers = callers(of: entry.socket)
            let mayTry = index < Self.namedAtOnce && !callers.contains(where: slowCallers.contains)
            if mayTry, let holder = holder(of: entry.inode, among: callers, Self.descriptorsAtOnce) {
                _ = book.attribute(key, inode: entry.inode, to: holder)
            } else {
                unnamed.append((key, entry.inode, callers))
                slowCallers.formUnion(callers)
            }
        }
        if !keys.isEmpty { nameRestAt = .now + Self.namingPause }
    }

    /// Tries the callers' other descriptors, now that the table is out; what they don't prove is the scanner's.
    private func nameRest() {
        var wanted: ProcessScanner.Wanted = [:]
        var changed = false
        let alive = unnamed.filter { book.entries[$0.key]?.inode == $0.inode }
        for (index, (key, inode, callers)) in alive.enumerated() {
            let mayTry = index < Self.namedLater
            if mayTry, let holder = holder(of: inode, among: callers, Self.descriptorsLater) {
                changed = book.attribute(key, inode: inode, to: holder) || changed
            } else {
                wanted[inode] = .some(callers.first)
            }
        }
        unnamed = []
        slowCallers = []
        scanner.find(wanted)
        if changed { publish() }
    }

    private func holder(of inode: UInt64, among callers: [Int32], _ limit: Int32) -> SocketHolder? {
        for pid in callers {
            if let holder = holders.holder(of: inode, pid: pid, limit: limit) { return holder }
        }
        return nil
    }

    /// The processes whose events can explain a new socket, likeliest first.
    private func callers(of socket: ListeningSocket) -> [Int32] {
        ([dirty.hint(for: socket)?.pid] + dirty.unboundHints.reversed().map(\.pid)).compactMap { $0 }
    }

    private func nameOlderListeners() {
        let wanted = olderUnnamed()
        if options.namesProcessesFirst {
            attribute(ProcessScanner.scan(holders, for: wanted))
        } else {
            scanner.find(wanted)
        }
    }

    private func olderUnnamed() -> ProcessScanner.Wanted {
        ProcessScanner.Wanted(book.takeUnnamed().map { ($0, nil) }) { first, _ in first }
    }

    private func takeFindings() {
        if attribute(scanner.takeFindings()) { publish() }
    }

    @discardableResult
    private func attribute(_ findings: [ProcessScanner.Finding]) -> Bool {
        guard !findings.isEmpty else { return false }
        let byInode = Dictionary(findings.map { ($0.inode, $0.holder) }) { first, _ in first }
        var changed = false
        for (key, entry) in book.entries where entry.holder == nil {
            guard let holder = byInode[entry.inode], holders.stillHolds(holder, inode: entry.inode) else {
                continue
            }
            changed = book.attribute(key, inode: entry.inode, to: holder) || changed
        }
        return changed
    }

    /// Forgets processes that no longer hold their socket, since a child may have inherited it without an event,
    /// and looks again for those not found, since a process may have come by its socket a moment later.
    private func checkHolders() -> Bool {
        looksUntilHolderCheck = Self.looksPerHolderCheck
        var changed = false
        for (key, entry) in book.entries {
            guard let holder = entry.holder, !holders.stillHolds(holder, inode: entry.inode) else { continue }
            changed = book.attribute(key, inode: entry.inode, to: nil) || changed
        }
        scanner.find(olderUnnamed())
        return changed
    }
}
