internal import Synchronization

/// Standard input on its way to a command that may not read it: a queue, so that a signal behind it gets through.
final class CommandInput: Sendable {
    /// Bytes that may wait. `put` then waits itself, and the caller's stream stands still until the command reads.
    private static let capacity = 4 << 20

    private struct State {
        var queued = 0
        /// Nobody takes input any more: the command has closed it or ended.
        var isDead = false
        var waiter: CheckedContinuation<Void, Never>?
    }

    private let chunks = AsyncStream<[UInt8]>.makeStream()
    private let state = Mutex(State())

    /// Queues bytes for the command, and waits while too many are queued. One caller at a time.
    func put(_ bytes: [UInt8]) async {
        state.withLock { $0.queued += bytes.count }
        chunks.continuation.yield(bytes)
        await withCheckedContinuation { caller in
            let mayGoOn = state.withLock { state in
                if state.queued <= Self.capacity || state.isDead { return true }
                state.waiter = caller
                return false
            }
            if mayGoOn { caller.resume() }
        }
    }

    /// Ends the input behind what is queued.
    func end() { chunks.continuation.finish() }

    /// The command is gone, whether or not it has ever been fed.
    func discard() {
        end()
        release { $0.isDead = true }
    }

    /// Hands what is queued to `write` until the input ends, `write` says that the command no longer reads, or the task
    /// is cancelled.
    func feed(to write: ([UInt8]) async -> Bool) async {
        for await bytes in chunks.stream {
            guard await write(bytes) else { break }
            release { $0.queued -= bytes.count }
        }
        discard()
    }

    private func release(_ change: (inout sending State) -> Void) {
        let waiter: CheckedContinuation<Void, Never>? = state.withLock { state in
            change(&state)
            guard state.queued <= Self.capacity || state.isDead else { return nil }
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }
}
