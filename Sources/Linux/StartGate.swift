internal import Synchronization

/// Holds back a task's cancellation until something that must not be cancelled while it starts has started.
///
/// swift-subprocess (1.0.2) ends the whole process when a task is cancelled while it spawns a program: a pipe is then left
/// open, which it takes for a fault of its own.
package final class StartGate: Sendable {
    private struct State {
        var hasStarted = false
        var isCancelled = false
        var cancel: (@Sendable () -> Void)?
    }

    private let state = Mutex(State())

    private init() {}

    /// Runs `body`, which calls `started` once it may be cancelled; a cancellation that came before is passed on then.
    package static func run<Result: Sendable>(
        _ body: @escaping @Sendable (StartGate) async throws -> Result
    ) async throws -> Result {
        let gate = StartGate()
        // Not a child task, which would be cancelled at once. It is awaited in any case.
        let work = Task { try await body(gate) }
        gate.change { $0.cancel = { work.cancel() } }
        return try await withTaskCancellationHandler {
            try await work.value
        } onCancel: {
            gate.change { $0.isCancelled = true }
        }
    }

    /// From now on a cancellation is passed on at once.
    package func started() { change { $0.hasStarted = true } }

    private func change(_ body: (inout State) -> Void) {
        let cancel: (@Sendable () -> Void)? = state.withLock { state in
            body(&state)
            return state.hasStarted && state.isCancelled ? state.cancel : nil
        }
        cancel?()
    }
}
