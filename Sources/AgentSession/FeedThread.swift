internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// The thread that reads feeds, on which the tasks run that act on what comes.
///
/// Between its wake-up and what a table leads to nothing is handed over, to no other thread and through no layer: a table
/// comes some milliseconds after the one before, so every line of code on its way is read from memory first. There is one in
/// a process, which lives as long, since a task's executor must not end before the runtime has done with it.
final class FeedThread: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var readers: [UInt64: Arrivals] = [:]
        var lastToken: UInt64 = 0
    }

    private static let running = Mutex<FeedThread?>(nil)

    /// The one of this process; the first call that can starts it.
    static func shared() throws(SystemError) -> FeedThread {
        try running.withLock { running throws(SystemError) in
            if let running { return running }
            let thread = try FeedThread()
            running = thread
            return thread
        }
    }

    /// The token of `waker`; no reader has it.
    private static let wakeUp: UInt64 = 0

    private let epoll: Epoll
    private let waker: Waker
    private let state = Mutex(State())
    /// pthread_self(3) of the thread, once it runs.
    private let thread = Atomic<UInt>(0)

    private init() throws(SystemError) {
        epoll = try Epoll()
        waker = try Waker()
        try epoll.add(waker.descriptor, EPOLLIN.rawValue, token: Self.wakeUp)
        try DedicatedThread.start(name: "feeds") { [self] in run() }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
        if thread.load(ordering: .relaxed) != pthread_self() { waker.wake() }
    }

    /// Tells `arrivals` from now on that there is something to read: at once if there is, and then whenever more has come.
    ///
    /// Returns what `forget` wants.
    func watch(_ fd: Int32, for arrivals: Arrivals) throws(SystemError) -> UInt64 {
        let token = state.withLock { state in
            state.lastToken += 1
            state.readers[state.lastToken] = arrivals
            return state.lastToken
        }
        do throws(SystemError) {
            try epoll.add(fd, EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue, token: token)
        } catch {
            forget(fd, token)
            throw error
        }
        return token
    }

    /// Ends `watch`; the descriptor is still open.
    func forget(_ fd: Int32, _ token: UInt64) {
        epoll.remove(fd)
        state.withLock { _ = $0.readers.removeValue(forKey: token) }
    }

    private func run() {
        thread.store(pthread_self(), ordering: .relaxed)
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 16) { events in
            while true {
                runJobs()
                for event in events.prefix(epoll.wait(events)) {
                    if event.data.u64 == Self.wakeUp {
                        waker.clear()
                    } else {
                        state.withLock { $0.readers[event.data.u64] }?.tell()
                    }
                }
            }
        }
    }

    private func runJobs() {
        while let job = state.withLock({ $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }) {
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
    }
}
