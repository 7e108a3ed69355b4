internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// The side of an event loop that other threads may touch: its epoll instance, its listeners, its commands.
final class LoopInbox: Sendable {
    enum Command {
        /// A connection that somebody else has accepted; the descriptor is owned by the command.
        case adopt(Int32, RelayTarget)
        /// Abort the connections that were accepted before a CLOCK_MONOTONIC time.
        case reset(acceptedBefore: UInt64)
        /// Find the tunnels whose other end has forgotten them.
        case findLostTunnels
        /// Look after the clients that wait for their servers.
        case retryHeld
        /// End; called when everything is closed.
        case stop(@Sendable () -> Void)
    }

    private struct State {
        var commands: [Command] = []
        var listeners: [UInt64: RelayListener] = [:]
        var nextListener: UInt64 = 0
        var stopped = false
    }

    private let epoll: Epoll
    private let waker: Waker
    private let state = Mutex(State())
    /// Connections that the loop holds.
    let load = Atomic<Int>(0)
    /// When the loop last moved bulk: CLOCK_MONOTONIC nanoseconds.
    let lastBulk = Atomic<UInt64>(0)

    init() throws(SystemError) {
        epoll = try Epoll()
        waker = try Waker()
        try watch(waker.descriptor, EPOLLIN.rawValue, .wake)
    }

    /// Adds a descriptor to the epoll instance, or changes what it is watched for. Closing it takes it out again.
    ///
    /// What is ready already is reported as well, edge-triggered or not.
    func watch(
        _ fd: Int32, _ events: UInt32, _ token: EventToken, isWatched: Bool = false
    ) throws(SystemError) {
        if isWatched {
            try epoll.modify(fd, events, token: token.rawValue)
        } else {
            try epoll.add(fd, events, token: token.rawValue)
        }
    }

    func ignore(_ fd: Int32) { epoll.remove(fd) }

    /// epoll_wait(2): the number of events, 0 when interrupted.
    func wait(_ events: UnsafeMutableBufferPointer<epoll_event>, milliseconds: Int32) -> Int {
        epoll.wait(events, milliseconds: milliseconds)
    }

    /// Returns false when the loop has ended; nothing will happen to the command then.
    func post(_ command: Command) -> Bool {
        // Whoever put the first one there has woken the loop, and it takes all.
        let (accepted, isFirst) = state.withLock { state in
            let isFirst = state.commands.isEmpty
            if !state.stopped { state.commands.append(command) }
            return (!state.stopped, isFirst)
        }
        if accepted, isFirst { waker.wake() }
        return accepted
    }

    func takeCommands() -> [Command] {
        waker.clear()
        return state.withLock { state in
            defer { state.commands = [] }
            return state.commands
        }
    }

    /// Takes no commands and listeners any more; returns the ones that are left.
    func stop() -> (commands: [Command], listeners: [RelayListener]) {
        state.withLock { state in
            state.stopped = true
            defer { state.commands = [] }
            return (state.commands, Array(state.listeners.values))
        }
    }

    /// The token that the listener's events will carry.
    func add(_ listener: RelayListener) throws(SystemError) -> EventToken {
        try state.withLock { state throws(SystemError) in
            guard !state.stopped else { throw SystemError(code: ESHUTDOWN, operation: "add listener") }
            state.nextListener += 1
            state.listeners[state.nextListener] = listener
            return EventToken(listener: state.nextListener)
        }
    }

    func remove(_ token: EventToken) {
        guard let number = token.listener else { return }
        _ = state.withLock { $0.listeners.removeValue(forKey: number) }
    }

    func listener(_ number: UInt64) -> RelayListener? {
        state.withLock { $0.listeners[number] }
    }
}
