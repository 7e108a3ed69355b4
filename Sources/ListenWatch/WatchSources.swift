internal import Linux
internal import Ports

/// The snapshotter and the hint source in use.
///
/// The best of what the options allow is opened at the start, programs in the background while the next best serves
/// (`takeOutcome`). What fails is given up for the next best: programs for the tracepoint, that for polling (`stepDown`),
/// netlink for procfs (`fallBack`). What is worse than asked for is tried again each `retryInterval` (`climb`), because what was
/// in the way may have gone: a module is loaded, memory is free again, a privilege is granted. `shortfall` says meanwhile what is
/// missing and why. Only programs that this kernel does not have from the start are nothing to wait for: the tracepoint is then
/// the best there is, and `pushReason` says why.
struct WatchSources {
    private(set) var snapshotter: any ListenSnapshotter
    private(set) var hints: (any HintSource)?
    /// Why mode or push is not the best that was asked for; nil when it is.
    private(set) var shortfall: String?
    /// As `ListenWatcher.pushReason`.
    private(set) var pushReason: String?
    /// When to try for something better; nil when there is nothing better.
    private(set) var climbDue: MonotonicTime?
    private var poll: PollSchedule
    /// Sources of hints that this machine may have, best first.
    private var levels: [PushLevel]
    private let opener: HintOpener
    private let options: ListenWatcherOptions
    private var misses = 0

    /// Opens the best of what `options` allow. `waker` wakes the calling thread when `hasOutcome` may have changed.
    init(_ options: ListenWatcherOptions, _ waker: Waker) throws(SnapshotFailed) {
        opener = HintOpener(waker: waker)
        self.options = options
        poll = .procfs
        levels = Array(PushLevel.allCases.drop { $0 != options.push }.dropLast())
        snapshotter = ProcSnapshotter(root: options.procRoot)
        if options.mode == .procfs { return }
        do {
            snapshotter = try options.openNetlink()
        } catch {
            guard options.mode == nil, error.isPermanent else { throw error }
            options.log("\(error); falling back to procfs")
            fall(short: error.description)
            return
        }
        openHints()
    }

    var source: ListenSource {
        ListenSource(mode: snapshotter.mode, push: hints?.push ?? .poll, degraded: shortfall)
    }

    var descriptors: [Int32] { hints?.descriptors ?? [] }

    /// The wait until the next look that no hint asked for.
    mutating func interval(changed: Bool, cost: Duration) -> Duration {
        poll.interval(changed: changed, cost: cost)
    }

    /// Gives up the hint source for the next best, and polls when there is none.
    mutating func stepDown(because reason: String) {
        guard let lost = hints?.push else { return }
        letGo()
        poll = .netlink
        options.log("lost \(lost.rawValue) events: \(reason)")
        fall(short: "no \(lost.rawValue) events: \(reason)")
        for level in levels.drop(while: { $0 != lost }).dropFirst() {
            do {
                try use(level)
                return
            } catch {
                fall(short: "no \(level.rawValue) events: \(error)")
                options.log("no \(level.rawValue) events: \(error)")
            }
        }
    }

    /// What to do about a hint source that fails.
    enum Remedy { case nothing, reopen, giveUp }

    /// Notes whether the hint source reports an error, or a resync found what no event had announced. Once, a ring may
    /// be dead, and a new one helps; again before any hint has led to a listener (`hintsWorked`), there is no help.
    mutating func hintsFailed(_ failed: Bool) -> Remedy {
        guard failed, hints != nil else { return .nothing }
        misses += 1
        return misses == 1 ? .reopen : .giveUp
    }

    /// Notes that a hint has led to a new listener.
    mutating func hintsWorked() { misses = 0 }

    /// Gives up netlink, if the mode was left open and the failure is one that stays.
    mutating func fallBack(after error: SnapshotFailed) -> Bool {
        guard options.mode == nil, error.isPermanent, snapshotter.mode == .netlink else { return false }
        options.log("falling back to procfs")
        snapshotter = ProcSnapshotter(root: options.procRoot)
        letGo()
        poll = .procfs
        fall(short: error.description)
        return true
    }

    /// Tries for what is better than what is in use; true when there is something new.
    mutating func climb() -> Bool {
        let before = source
        climbDue = .now + options.retryInterval
        if snapshotter.mode == .procfs {
            do {
                snapshotter = try options.openNetlink()
                poll = .netlink
                shortfall = nil
                climbDue = nil
                options.log("sock_diag works again")
            } catch {
                fall(short: error.description)
                return source != before
            }
        }
        openHints()
        return source != before
    }

    /// Whether something has been opened in the background, or can't be.
    var hasOutcome: Bool { opener.hasOutcome }

    /// Goes over to what has been opened in the background; true when it is used.
    mutating func takeOutcome() -> Bool {
        guard let outcome = opener.take() else { return false }
        pushReason = nil
        switch outcome.source {
        case .success(let opened):
            // procfs goes with polling alone.
            guard snapshotter.mode == .netlink else {
                var unwanted = opened.take()
                Self.close(&unwanted)
                return false
            }
            guard let source = opened.take() else { return false }
            letGo()
            use(source)
            if shortfall == nil {
                options.note("push \(outcome.level.rawValue)")
            } else {
                options.log("\(outcome.level.rawValue) events again")
            }
            (shortfall, climbDue) = (nil, nil)
            return true
        case .failure(let error):
            let reason = "no \(outcome.level.rawValue) events: \(error)"
            if !error.isPassing {
                levels.removeAll { $0 == outcome.level }
                options.note(reason)
                pushReason = reason
                if hints?.push == levels.first { (shortfall, climbDue) = (nil, nil) }
            } else if hints != nil {
                if reason != shortfall { options.log(reason) }
                fall(short: reason)
            }
            return false
        }
    }

    private mutating func fall(short reason: String) {
        shortfall = reason
        climbDue = .now + options.retryInterval
    }

    /// Opens the best source of hints, if it is better than the one in use; programs in the background.
    private mutating func openHints() {
        if hints == nil { poll = .netlink }
        var missing: String?
        for level in levels.prefix(while: { $0 != hints?.push }) {
            if level == .bpf {
                opener.open(level, options)
                pushReason = ListenWatcher.settingUp
                continue
            }
            do {
                try use(level)
                if shortfall != nil { options.log("\(level.rawValue) events again") }
                missing = nil
                shortfall = nil
                break
            } catch {
                missing = "no \(level.rawValue) events: \(error)"
            }
        }
        if let missing {
            if missing != shortfall { options.log(missing) }
            fall(short: missing)
        } else if !opener.isBusy || shortfall == nil {
            shortfall = nil
            climbDue = nil
        }
    }

    private mutating func use(_ level: PushLevel) throws(HintSourceLost) {
        use(try options.openHints(level, options))
    }

    private mutating func use(_ source: any HintSource) {
        hints = source
        poll = .resync(options.resyncInterval)
        misses = 0
    }

    /// Gives up the hints in use.
    private mutating func letGo() { Self.close(&hints) }

    private static func close(_ source: inout (any HintSource)?) {
        DedicatedThread.closing(source?.slowToClose ?? []) { source = nil }
    }

    static func openHints(
        _ level: PushLevel, _ options: ListenWatcherOptions
    ) throws(HintSourceLost) -> any HintSource {
        let onlineCPUs = options.onlineCPUs ?? OnlineCPUs.list
        switch level {
        case .bpf:
            return try BPFSource(
                types: options.kernelTypes, processRoot: options.processRoot, onlineCPUs: onlineCPUs)
        case .tracepoint: return try TracepointSource(tracefs: options.tracefs, onlineCPUs: onlineCPUs)
        case .poll: throw HintSourceLost(description: "a timer is no source of them")
        }
    }
}
