internal import AgentAPI
internal import AgentChannel
internal import Glibc
internal import Linux
internal import Ports
internal import Synchronization

/// One connection that gets the tables of a range; see `TableFeeds`.
///
/// The thread that publishes never waits for it: it sends only where nobody else is sending, and leaves the rest, and a note
/// that there is something newer, to the thread of all feeds.
final class TableFeed: Sendable {
    enum Progress {
        case done
        /// The connection takes no more for now.
        case blocked
        case failed
    }

    private struct Writer {
        /// What the reader has, once `rest` is sent.
        var last: ListenTable?
        /// What is still to be sent of it.
        var rest: ArraySlice<UInt8> = [ForwardStatus.connected.rawValue]
    }

    /// A table of more rows is encoded by the other thread: some 0.1 ms.
    private static let mostRowsAtOnce = 500

    private let socket: OwnedDescriptor
    private let range: PortRange
    private let writer = Mutex(Writer())
    /// There is a table that the reader has not been sent.
    private let isStale = Atomic(true)
    private let watched = Atomic<UInt32>(0)

    init(_ socket: consuming OwnedDescriptor, _ range: PortRange) {
        self.socket = socket
        self.range = range
    }

    /// Sends a table, if that can be done at once. Returns false when `catchUp` has to be called.
    func offer(_ table: ListenTable) -> Bool {
        let isDone = writer.withLockIfAvailable { writer in
            guard writer.rest.isEmpty, table.listeners.count <= Self.mostRowsAtOnce else {
                isStale.store(true, ordering: .releasing)
                // While something waits to be sent, the other thread looks here anyway.
                return !writer.rest.isEmpty
            }
            take(table, &writer)
            return send(&writer) == .done
        }
        if let isDone { return isDone }
        isStale.store(true, ordering: .releasing)
        return false
    }

    /// Sends what is left, and the newest table if there is a newer one.
    func catchUp(_ newest: (PortRange) -> ListenTable) -> Progress {
        writer.withLock { writer in
            while true {
                let progress = send(&writer)
                guard progress == .done, isStale.exchange(false, ordering: .acquiringAndReleasing) else {
                    return progress
                }
                take(newest(range), &writer)
            }
        }
    }

    /// Has `epoll` report `events` with `token`.
    func watch(_ events: UInt32, _ epoll: borrowing Epoll, _ token: UInt64) throws(SystemError) {
        switch watched.exchange(events, ordering: .relaxed) {
        case events: return
        case 0: try epoll.add(socket.rawValue, events, token: token)
        default: try epoll.modify(socket.rawValue, events, token: token)
        }
    }

    func ignore(_ epoll: borrowing Epoll) { epoll.remove(socket.rawValue) }

    private func take(_ whole: ListenTable, _ writer: inout Writer) {
        let table = range == .all ? whole : whole.restricted(to: range)
        if let last = writer.last, last.sameContent(as: table) { return }
        writer.last = table
        writer.rest = table.frame[...]
    }

    private func send(_ writer: inout Writer) -> Progress {
        while !writer.rest.isEmpty {
            let count = writer.rest.withUnsafeBytes {
                Glibc.send(
                    socket.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL) | Int32(MSG_DONTWAIT))
            }
            if count < 0 {
                let code = errno
                if code == EINTR { continue }
                return code == EAGAIN ? .blocked : .failed
            }
            writer.rest = writer.rest.dropFirst(count)
        }
        return .done
    }
}
