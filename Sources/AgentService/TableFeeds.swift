internal import AgentAPI
internal import AgentChannel
internal import CLinux
internal import Glibc
package import Linux
package import Ports
internal import Synchronization

/// Sends tables over connections of their own (docs/forward-protocol.md), straight from the thread that makes the tables:
/// the shortest way to a host.
///
/// A table costs that thread one send for each connection. What a connection does not take at once is left to a thread of
/// this object, and so are its first table and large ones; meanwhile only the newest counts. That thread sleeps else.
package final class TableFeeds: TableSender {
    private struct State {
        var feeds: [UInt64: TableFeed] = [:]
        var lastID: UInt64 = 0
        /// What the thread is to look at.
        var due: Set<UInt64> = []
        var isClosed = false
    }

    /// The token of `waker`; no feed has it.
    private static let wakeUp: UInt64 = 0

    private let newest: @Sendable (PortRange) -> ListenTable
    private let limit: Int
    private let epoll: Epoll
    private let waker: Waker
    private let state = Mutex(State())

    /// Starts the thread, which lives until `close`.
    ///
    /// - Parameter newest: the newest table of a range, at least as new as the last one of `publish`.
    package init(
        limit: Int = AgentLimits.feeds, newest: @escaping @Sendable (PortRange) -> ListenTable
    ) throws(SystemError) {
        self.newest = newest
        self.limit = limit
        epoll = try Epoll()
        waker = try Waker()
        try epoll.add(waker.descriptor, EPOLLIN.rawValue, token: Self.wakeUp)
        try DedicatedThread.start(name: "table-feeds") { [self] in run() }
    }

    /// How many connections there are.
    package var count: Int { state.withLock { $0.feeds.count } }

    /// Whether one more is served at this moment.
    package var hasRoom: Bool { count < limit }

    /// Takes a connection over, on which status 0 and then the tables go out soon; closes it where there is no room, or after
    /// `close`.
    package func add(_ reader: consuming OwnedDescriptor, range: PortRange) {
        StreamSocket.keepAlive(reader.rawValue)
        let feed = TableFeed(reader, range)
        state.withLock { state in
            guard !state.isClosed, state.feeds.count < limit else { return }
            state.lastID += 1
            state.feeds[state.lastID] = feed
            state.due.insert(state.lastID)
        }
        waker.wake()
    }

    /// Sends a table to each connection, as far as that can be done at once. Calls must not overlap.
    package func publish(_ table: ListenTable) {
        var isDue = false
        for (id, feed) in state.withLock({ $0.feeds }) where !feed.offer(table) {
            state.withLock { _ = $0.due.insert(id) }
            isDue = true
        }
        if isDue { waker.wake() }
    }

    /// Ends the thread and closes every connection, soon.
    package func close() {
        state.withLock { $0.isClosed = true }
        waker.wake()
    }

    private func run() {
        withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 16) { events in
            while true {
                let count = epoll.wait(events)
                var ready: Set<UInt64> = []
                for event in events.prefix(count) where event.data.u64 != Self.wakeUp {
                    // A host has nothing to say here, so whatever comes of it is its end.
                    if event.events & ~EPOLLOUT.rawValue != 0 {
                        remove(event.data.u64)
                    } else {
                        ready.insert(event.data.u64)
                    }
                }
                waker.clear()
                let (due, isClosed) = state.withLock { state in
                    defer { state.due = [] }
                    if state.isClosed { state.feeds = [:] }
                    return (state.due, state.isClosed)
                }
                if isClosed { return }
                for id in ready.union(due) { attend(to: id) }
            }
        }
    }

    private func attend(to id: UInt64) {
        guard let feed = state.withLock({ $0.feeds[id] }) else { return }
        let events = EPOLLIN.rawValue | EPOLLRDHUP.rawValue
        do throws(SystemError) {
            switch feed.catchUp(newest) {
            case .done: try feed.watch(events, epoll, id)
            case .blocked: try feed.watch(events | EPOLLOUT.rawValue, epoll, id)
            case .failed: remove(id)
            }
        } catch {
            remove(id)
        }
    }

    private func remove(_ id: UInt64) {
        // Closed when the thread that publishes is not in the middle of a send.
        let feed = state.withLock { $0.feeds.removeValue(forKey: id) }
        feed?.ignore(epoll)
    }
}
