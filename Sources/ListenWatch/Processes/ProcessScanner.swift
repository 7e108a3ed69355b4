internal import Glibc
internal import Linux
internal import Ports
internal import ProcNet
internal import Synchronization

/// Finds the processes behind sockets that no event explained, by reading every process's descriptors on a thread
/// of low priority, with pauses. It sleeps when nobody asks.
final class ProcessScanner: Sendable {
    /// A socket whose holder was found.
    struct Finding {
        var inode: UInt64
        var holder: SocketHolder
    }

    /// Socket inodes, each with the process that is likely to hold it.
    typealias Wanted = [UInt64: Int32?]

    private struct State {
        var wanted: Wanted = [:]
        var found: [Finding] = []
        var isRunning = false
        var isStopped = false
    }

    private let holders: SocketHolders
    private let waker: Waker
    private let state = Mutex(State())

    init(holders: SocketHolders, waker: Waker) {
        self.holders = holders
        self.waker = waker
    }

    /// Asks for these sockets. Each is looked for once; one that nobody holds is not asked for again.
    func find(_ sockets: Wanted) {
        let mustStart = state.withLock { state in
            state.wanted.merge(sockets) { $1 }
            guard !state.wanted.isEmpty, !state.isRunning, !state.isStopped else { return false }
            state.isRunning = true
            return true
        }
        guard mustStart else { return }
        do {
            // A thread only while there is work: most agents scan once in their life.
            try DedicatedThread.start(name: "process-scan") { [self] in run() }
        } catch {
            state.withLock { $0.isRunning = false }
        }
    }

    /// The findings since the last call.
    func takeFindings() -> [Finding] {
        state.withLock { state in
            defer { state.found = [] }
            return state.found
        }
    }

    func stop() { state.withLock { $0.isStopped = true } }

    private func run() {
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, 10)
        while let wanted = nextTask() {
            let found = Self.scan(holders, for: wanted) { [self] in
                Self.pause(after: $0)
                return !state.withLock { $0.isStopped }
            }
            state.withLock { $0.found += found }
            if !found.isEmpty { waker.wake() }
        }
    }

    private func nextTask() -> Wanted? {
        state.withLock { state in
            if state.wanted.isEmpty || state.isStopped {
                state.isRunning = false
                return nil
            }
            defer { state.wanted = [:] }
            return state.wanted
        }
    }

    /// Nine times as long as the work took, so that a scan takes a tenth of one core at most.
    private static func pause(after work: Duration) {
        let microseconds = work.components.attoseconds / 1_000_000_000_000
        usleep(useconds_t(clamping: min(max(100, microseconds * 9), 50_000)))
    }

    /// Reads the descriptors of every process until all of `wanted` are found. `pause` gets the time that each
    /// process took and ends the scan by returning false.
    static func scan(
        _ holders: SocketHolders, for wanted: Wanted, pause: (Duration) -> Bool = { _ in true }
    ) -> [Finding] {
        let likely = Set(wanted.values.compactMap { $0 })
        var wanted = Set(wanted.keys)
        var found: [Finding] = []
        for pid in likely + holders.processes().filter({ !likely.contains($0) }) where !wanted.isEmpty {
            let start = Duration.nanoseconds(SystemClock.threadCPU)
            for (inode, descriptor) in holders.sockets(of: pid) where wanted.contains(inode) {
                guard let holder = holders.confirmed(pid: pid, descriptor: descriptor) else { continue }
                wanted.remove(inode)
                found.append(Finding(inode: inode, holder: holder))
            }
            guard pause(Duration.nanoseconds(SystemClock.threadCPU) - start) else { break }
        }
        return found
    }
}
