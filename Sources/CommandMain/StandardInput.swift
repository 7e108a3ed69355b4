internal import Glibc
internal import Linux
internal import Synchronization

/// Standard input as a sequence of chunks, read no faster than they are taken.
package enum StandardInput {
    /// Each element is what one read(2) gave, up to 64 KiB; the sequence ends at end of file, or when the task is
    /// cancelled. Read it once.
    package static func chunks() -> AsyncThrowingStream<[UInt8], any Error> {
        AsyncThrowingStream { try await PendingChunk().read() }
    }
}

/// One read on a thread of its own, because a read from a terminal may wait for ever.
///
/// Cancellation leaves that thread behind: nothing but input ends its read(2).
private final class PendingChunk: Sendable {
    typealias Outcome = Result<[UInt8]?, SystemError>

    private enum State {
        case new
        case waiting(CheckedContinuation<Outcome, Never>)
        case over
    }

    private let state = Mutex(State.new)

    /// nil at end of file.
    func read() async throws(SystemError) -> [UInt8]? {
        let outcome = await withTaskCancellationHandler {
            await withCheckedContinuation { start($0) }
        } onCancel: {
            end(.success(nil))
        }
        return try outcome.get()
    }

    private func start(_ continuation: CheckedContinuation<Outcome, Never>) {
        let isNew = state.withLock { state in
            guard case .new = state else { return false }
            state = .waiting(continuation)
            return true
        }
        guard isNew else { return continuation.resume(returning: .success(nil)) }
        do throws(SystemError) {
            try DedicatedThread.start(name: "stdin") { self.end(Self.read()) }
        } catch {
            end(.failure(error))
        }
    }

    /// The first end counts.
    private func end(_ outcome: Outcome) {
        let waiting: CheckedContinuation<Outcome, Never>? = state.withLock { state in
            defer { state = .over }
            guard case .waiting(let continuation) = state else { return nil }
            return continuation
        }
        waiting?.resume(returning: outcome)
    }

    private static func read() -> Outcome {
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(STDIN_FILENO, &chunk, chunk.count)
            if count < 0 {
                let error = SystemError.current("read standard input")
                if error.code == EINTR { continue }
                if error.code == EAGAIN {
                    var ready = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
                    _ = poll(&ready, 1, -1)
                    continue
                }
                return .failure(error)
            }
            return .success(count == 0 ? nil : Array(chunk[..<count]))
        }
    }
}
