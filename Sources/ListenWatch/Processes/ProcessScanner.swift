internal import Glibc
internal import Linux
internal import Ports
internal import ProcNet
internal import Synchronization

/// Finds the processes behind sockets by reading their descriptors on a thread of its own: first those of the processes
/// that likely hold them, then, at a low priority and with pauses, those of all. It sleeps when nobody asks.
final class ProcessScanner: Sendable {
    /// A socket whose holder was found.
    struct Finding {
        var inode: UInt64
        var holder: SocketHolder
    }

    /// Socket inodes, each with the processes that may hold it, likeliest first.
    typealias Wanted = [UInt64: [Int32]]

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
            state.wanted.merge(sockets) { $1.isEmpty ? $0 : $1 }
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
        WatchThread.standBack()
        while let wanted = nextTask() {
            var rest = wanted
            let start = Duration.nanoseconds(SystemClock.threadCPU)
            tell(Self.search(holders, Self.likely(wanted), for: &rest))
            Self.pause(after: Duration.nanoseconds(SystemClock.threadCPU) - start)
            guard !rest.isEmpty, !isStopped else { continue }
            // For good: this thread ends with its work.
            WatchThread.standBack(niceness: 10)
            let searched = Set(Self.likely(wanted))
            let others = holders.processes().filter { !searched.contains($0) }
            tell(
                Self.search(holders, others, for: &rest) { [self] in
                    Self.pause(after: $0)
                    return !isStopped
                })
        }
    }

    private var isStopped: Bool { state.withLock { $0.isStopped } }

    private func tell(_ found: [Finding]) {
        guard !found.isEmpty else { return }
        state.withLock { $0.found += found }
        waker.wake()
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

    /// Reads the descriptors of every process until all of `wanted` are found.
    static func scan(_ holders: SocketHolders, for wanted: Wanted) -> [Finding] {
        var wanted = wanted
        return search(holders, holders.processes(), for: &wanted)
    }

    /// Reads the descriptors of these processes until all of `wanted` are found, and takes those off it. `pause` gets the
    /// time that a process took, and ends the search by returning false.
    private static func search(
        _ holders: SocketHolders, _ processes: [Int32], for wanted: inout Wanted,
        pause: (Duration) -> Bool = { _ in true }
    ) -> [Finding] {
        var found: [Finding] = []
        for pid in processes {
            let start = Duration.nanoseconds(SystemClock.threadCPU)
            for (inode, descriptor) in holders.sockets(of: pid) where wanted[inode] != nil {
                guard let holder = holders.confirmed(pid: pid, descriptor: descriptor) else { continue }
                wanted[inode] = nil
                found.append(Finding(inode: inode, holder: holder))
                if wanted.isEmpty { break }
            }
            guard !wanted.isEmpty, pause(Duration.nanoseconds(SystemClock.threadCPU) - start) else { break }
        }
        return found
    }

    private static func likely(_ wanted: Wanted) -> [Int32] {
        var seen: Set<Int32> = []
        return wanted.values.joined().filter { seen.insert($0).inserted }
    }
}
