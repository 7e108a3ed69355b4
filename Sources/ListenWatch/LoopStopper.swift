internal import Linux
internal import Synchronization

/// Reaches into the watcher's thread to end it.
final class LoopStopper: Sendable {
    private let state = Mutex<(waker: Waker?, stopped: Bool)>((nil, false))

    var isStopped: Bool { state.withLock { $0.stopped } }

    /// Sets what `stop` wakes; wakes it at once when `stop` was called before.
    func attach(_ waker: Waker?) {
        let stopped = state.withLock { state in
            state.waker = waker
            return state.stopped
        }
        if stopped { waker?.wake() }
    }

    func stop() {
        let waker = state.withLock { state in
            state.stopped = true
            return state.waker
        }
        waker?.wake()
    }
}
