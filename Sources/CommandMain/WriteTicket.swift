internal import Synchronization

/// Lets one task wait until its bytes are written.
final class WriteTicket: Sendable {
    private enum State {
        case new
        case waiting(CheckedContinuation<Bool, Never>)
        case over(Bool)
    }

    private let state = Mutex(State.new)

    /// What `end` says; true at once when the task is cancelled.
    func wait() async -> Bool {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let result: Bool? = state.withLock { state in
                    if case .over(let result) = state { return result }
                    state = .waiting(continuation)
                    return nil
                }
                if let result { continuation.resume(returning: result) }
            }
        } onCancel: {
            end(true)
        }
    }

    /// The first end counts.
    func end(_ isWritten: Bool) {
        let waiting: CheckedContinuation<Bool, Never>? = state.withLock { state in
            switch state {
            case .new: state = .over(isWritten)
            case .waiting(let continuation):
                state = .over(isWritten)
                return continuation
            case .over: break
            }
            return nil
        }
        waiting?.resume(returning: isWritten)
    }
}
