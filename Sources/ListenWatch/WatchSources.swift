internal import CLinux
internal import Glibc
internal import Ports

/// The snapshotter and the hint source in use, and the steps down when one is missing.
struct WatchSources {
    private(set) var snapshotter: any ListenSnapshotter
    private(set) var hints: (any HintSource)?
    private var poll: PollSchedule
    private let options: ListenWatcherOptions
    private var misses = 0

    /// Opens the best of what `options` allow.
    init(_ options: ListenWatcherOptions) throws(SnapshotFailed) {
        self.options = options
        poll = .procfs
        snapshotter = ProcSnapshotter(root: options.procRoot)
        if options.mode == .procfs { return }
        do {
            let netlink = try NetlinkSnapshotter()
            // Only a question makes the kernel load the TCP part, so only an answer shows that it is there.
            _ = try netlink.listeners(in: .all)
            snapshotter = netlink
        } catch {
            guard options.mode == nil, error.isPermanent else { throw error }
            options.log("\(error); falling back to procfs")
            return
        }
        openHints(best: options.push)
    }

    var source: ListenSource { ListenSource(mode: snapshotter.mode, push: hints?.push ?? .poll) }

    var descriptors: [Int32] { hints?.descriptors ?? [] }

    /// The wait until the next look that no hint asked for.
    mutating func interval(changed: Bool, cost: Duration) -> Duration {
        poll.interval(changed: changed, cost: cost)
    }

    /// Gives up the hint source and opens the next best.
    mutating func stepDown(because reason: String) {
        guard let lost = hints?.push else { return }
        hints = nil
        options.log("lost \(lost.rawValue) events: \(reason)")
        openHints(best: lost == .tracepoint ? .destroy : .poll)
    }

    /// Notes whether a resync found changes that no event had announced. True when it did so twice in a row: the
    /// kernel no longer reports all events.
    mutating func hintsMissed(_ missed: Bool) -> Bool {
        guard hints?.push == .tracepoint else { return false }
        misses = missed ? misses + 1 : 0
        return misses > 1
    }

    /// Gives up netlink for good, if the mode was left open and the failure is one that stays.
    mutating func fallBack(after error: SnapshotFailed) -> Bool {
        guard options.mode == nil, error.isPermanent, snapshotter.mode == .netlink else { return false }
        snapshotter = ProcSnapshotter(root: options.procRoot)
        hints = nil
        poll = .procfs
        return true
    }

    private mutating func openHints(best: PushLevel) {
        misses = 0
        if best == .tracepoint {
            do {
                hints = try TracepointSource(
                    tracefs: options.tracefs, onlineCPUs: options.onlineCPUs ?? OnlineCPUs.list)
                poll = .resync(options.resyncInterval)
                return
            } catch {
                options.log("no tracepoint events: \(error)")
            }
        }
        poll = .netlink
        guard best != .poll else { return }
        do {
            hints = try DestroySource()
        } catch {
            options.log("no destroy events: \(error)")
        }
    }
}

/// Scheduling of the watcher's thread.
enum WatchThread {
    /// Asks to run before ordinary processes and to be woken on time. Without the privilege it stays ordinary.
    static func prefer() {
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, -10)
        _ = clinux_set_timer_slack(1)
    }
}
