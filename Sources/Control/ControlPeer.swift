internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// One client, as the owner sees it. The server's thread moves its bytes; any thread may send.
package final class ControlPeer: Sendable {
    enum Phase {
        /// Its request is not complete.
        case asking
        case answering
        /// Nothing more comes; what waits is still written.
        case draining
    }

    private struct State {
        var phase = Phase.asking
        var input = LineBuffer(limit: ControlLimits.request)
        var waiting: [UInt8] = []
        var isGone = false
        var deadline: ContinuousClock.Instant? = .now + ControlLimits.requestTime
    }

    let socket: OwnedDescriptor
    private let state = Mutex(State())
    private let wake: @Sendable () -> Void
    private let gone = AsyncStream<Void>.makeStream()

    init(_ socket: consuming OwnedDescriptor, wake: @escaping @Sendable () -> Void) {
        self.socket = socket
        self.wake = wake
    }

    /// Queues a message, and never waits. Of a client that is too far behind nothing is kept, and it is dropped.
    package func send(_ message: ControlMessage) { send(ControlLine.bytes(message)) }

    /// Several messages of which no other one gets between.
    func send(_ bytes: [UInt8]) {
        state.withLock { state in
            guard !state.isGone, state.phase != .draining else { return }
            if state.waiting.count + bytes.count > ControlLimits.waiting {
                state.isGone = true
            } else {
                state.waiting += bytes
            }
        }
        wake()
    }

    /// Returns when the client has gone, or the task is cancelled.
    package func untilGone() async { for await _ in gone.stream {} }

    // MARK: The server's side

    /// Ends the connection once what waits is written.
    func finish() {
        state.withLock { state in
            state.phase = .draining
            state.deadline = .now + ControlLimits.drainTime
        }
        wake()
    }

    /// What to poll(2) for, and until when; nil when it has gone.
    func interest(_ now: ContinuousClock.Instant) -> (events: Int16, deadline: ContinuousClock.Instant?)? {
        let interest: (Int16, ContinuousClock.Instant?)? = state.withLock { state in
            let isOver = state.phase == .draining && state.waiting.isEmpty
            guard !state.isGone, !isOver, state.deadline.map({ now < $0 }) ?? true else { return nil }
            return (Int16(POLLIN) | (state.waiting.isEmpty ? 0 : Int16(POLLOUT)), state.deadline)
        }
        if interest == nil { end() }
        return interest
    }

    /// Reads what has come; the request when it is complete.
    func read() -> [UInt8]? {
        var chunk = [UInt8](repeating: 0, count: ControlLimits.request)
        let count = recv(socket.rawValue, &chunk, chunk.count, 0)
        if count < 0, errno == EAGAIN || errno == EINTR { return nil }
        return state.withLock { state in
            // A client that ends its half has gone: whoever waits for an answer keeps it open.
            guard count > 0 else {
                state.isGone = true
                return nil
            }
            // What follows a request has no meaning, and is not kept.
            guard state.phase == .asking else { return nil }
            state.input.add(chunk[..<count])
            if let line = state.input.next(), line.count < ControlLimits.request {
                state.phase = .answering
                state.deadline = nil
                return line
            }
            if state.input.isOverfull { state.isGone = true }
            return nil
        }
    }

    /// Writes as much as the client takes now.
    func write() {
        state.withLock { state in
            let sent = state.waiting.withUnsafeBytes {
                Glibc.send(socket.rawValue, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if sent > 0 {
                state.waiting.removeFirst(sent)
            } else if errno != EAGAIN, errno != EINTR {
                state.isGone = true
            }
        }
    }

    /// Ends the connection at once, whoever still holds this value; what is written already reaches the client.
    func end() {
        state.withLock { $0.isGone = true }
        shutdown(socket.rawValue, Int32(SHUT_RDWR))
        gone.continuation.finish()
    }

    var hasWaiting: Bool { state.withLock { !$0.isGone && !$0.waiting.isEmpty } }
}
