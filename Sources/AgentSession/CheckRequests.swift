internal import Synchronization

/// Cuts short the pause between two heartbeats.
final class CheckRequests: Sendable {
    /// Ends the pause of the one heartbeat there is at a time.
    private let pause = Mutex<AsyncStream<Void>.Continuation?>(nil)

    /// Ends the pause; does nothing without one, since then an answer is being waited for already.
    func send() { pause.withLock { $0?.finish() } }

    /// Returns after `duration` or at the next request.
    ///
    /// - Throws: `CancellationError`.
    func wait(atMost duration: Duration) async throws {
        let (requests, continuation) = AsyncStream.makeStream(of: Void.self)
        pause.withLock { $0 = continuation }
        defer { pause.withLock { $0 = nil } }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await Task.sleep(for: duration) }
            group.addTask { for await _ in requests {} }
            defer { group.cancelAll() }
            try await group.next()
        }
        try Task.checkCancellation()
    }
}
