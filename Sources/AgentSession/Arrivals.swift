internal import Synchronization

/// Lets a task wait until there is something to read. One task at a time.
final class Arrivals: Sendable {
    private struct State {
        /// Something has come since the last wait, or none lasts any longer.
        var isReady = false
        var isOver = false
        var waiting: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    func tell() {
        let waiting = state.withLock { state in
            state.isReady = state.waiting == nil
            return state.waiting.take()
        }
        waiting?.resume()
    }

    /// Returns when something has come since the last call, or when the task is cancelled.
    func wait() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isReady = state.withLock { state in
                    if state.isReady || state.isOver {
                        state.isReady = false
                        return true
                    }
                    state.waiting = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                state.isOver = true
                return state.waiting.take()
            }
            waiting?.resume()
        }
    }
}
