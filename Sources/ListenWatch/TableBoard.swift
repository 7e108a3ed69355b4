internal import Ports
internal import Synchronization

/// Where the watcher's thread puts the newest table and everybody else finds it.
final class TableBoard: Sendable {
    private struct State {
        var table: ListenTable
        var means: Means
        var subscribers: [UInt64: AsyncStream<ListenTable>.Continuation] = [:]
        var nextSubscriber: UInt64 = 0
        var observers: [@Sendable (ListenTable) -> Void] = []
        var isClosed = false
    }

    /// What the watcher sees by now; a table that says so may have to wait.
    struct Means {
        var source: ListenSource
        /// As `ListenWatcher.pushReason`.
        var pushReason: String?
    }

    private let state: Mutex<State>

    init(_ table: ListenTable) {
        state = Mutex(State(table: table, means: Means(source: table.source)))
    }

    var table: ListenTable { state.withLock { $0.table } }
    var means: Means {
        get { state.withLock { $0.means } }
        set { state.withLock { $0.means = newValue } }
    }
    /// Replaces the table and hands it to every observer and subscriber, straight from the calling thread.
    func publish(_ table: ListenTable) {
        let (observers, subscribers) = state.withLock { state in
            state.table = table
            return (state.observers, Array(state.subscribers.values))
        }
        for observer in observers { observer(table) }
        for subscriber in subscribers { subscriber.yield(table) }
    }

    /// Has `body` called with each later table, by whoever publishes it, until the board is closed.
    func observe(_ body: @escaping @Sendable (ListenTable) -> Void) {
        state.withLock { if !$0.isClosed { $0.observers.append(body) } }
    }

    /// The present table and all later ones; of those that wait unread only the newest is kept.
    func subscribe() -> AsyncStream<ListenTable> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: ListenTable.self, bufferingPolicy: .bufferingNewest(1))
        let id: UInt64? = state.withLock { state in
            guard !state.isClosed else { return nil }
            // Under the lock, so that no later table can come before this one.
            continuation.yield(state.table)
            state.nextSubscriber += 1
            state.subscribers[state.nextSubscriber] = continuation
            return state.nextSubscriber
        }
        guard let id else {
            continuation.finish()
            return stream
        }
        continuation.onTermination = { [weak self] _ in
            _ = self?.state.withLock { $0.subscribers.removeValue(forKey: id) }
        }
        return stream
    }

    /// Ends every subscription, now and later.
    func close() {
        let subscribers = state.withLock { state in
            state.isClosed = true
            state.observers = []
            defer { state.subscribers = [:] }
            return Array(state.subscribers.values)
        }
        for subscriber in subscribers { subscriber.finish() }
    }
}
