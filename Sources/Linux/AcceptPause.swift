internal import CLinux
internal import Glibc

/// Takes clients out of a listener's queue for a thread that polls, and lets the listener alone for a moment when that fails.
///
/// A process without descriptors can't take a client, which stays in the queue (accept(2)); poll(2) and epoll(7) report the
/// listener all that time, and whoever only tries again uses up a CPU. For one thread.
package struct AcceptPause {
    /// Until the next try, as long as a relay's (`RelayOptions.pauseInterval`).
    package static let time = Duration.milliseconds(20)

    /// How often it has paused.
    package private(set) var count: UInt64 = 0
    private var end: MonotonicTime?
    private var isTold = false
    private let tell: (SystemError) -> Void

    /// - Parameter tell: gets why clients wait, once until all of them have been taken.
    package init(tell: @escaping (SystemError) -> Void) { self.tell = tell }

    /// How long the listener is still not to be polled; nil when it is.
    package var rest: Duration? { end.flatMap { $0 > .now ? $0 - .now : nil } }

    /// The next client, non-blocking; nil when none waits or none can be taken now.
    package mutating func next(from listener: Int32) -> OwnedDescriptor? {
        guard rest == nil else { return nil }
        while true {
            let socket = clinux_accept(listener, nil, nil)
            if socket >= 0 { return OwnedDescriptor(owning: socket) }
            let error = SystemError.current("accept4")
            switch error.code {
            case EINTR, ECONNABORTED: continue
            case EAGAIN:
                isTold = false
                return nil
            default:
                count += 1
                end = .now + Self.time
                if !isTold { tell(error) }
                isTold = true
                return nil
            }
        }
    }
}
