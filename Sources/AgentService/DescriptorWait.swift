@preconcurrency internal import Dispatch
internal import Synchronization

/// Lets a task wait until a descriptor can be read, or until it can be written. One task at a time.
final class DescriptorWait: Sendable {
    enum Event { case readable, writable }

    private struct State {
        var isOver = false
        var source: (any DispatchSourceProtocol)?
    }

    private let event: Event
    private let state = Mutex(State())

    init(for event: Event) { self.event = event }

    /// No wait lasts any longer.
    var isOver: Bool { state.withLock { $0.isOver } }

    /// Returns when the event has come, after `end`, or when the task is cancelled. `descriptor` must stay open.
    func wait(on descriptor: Int32) async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { waiting in
                let source: any DispatchSourceProtocol =
                    switch event {
                    case .readable: DispatchSource.makeReadSource(fileDescriptor: descriptor)
                    case .writable: DispatchSource.makeWriteSource(fileDescriptor: descriptor)
                    }
                source.setEventHandler { @Sendable [self] in
                    // It would be called again and again until somebody reads.
                    state.withLock { $0.source }?.cancel()
                }
                source.setCancelHandler { @Sendable [self] in
                    state.withLock { $0.source = nil }
                    waiting.resume()
                }
                let isOver = state.withLock { state in
                    state.source = source
                    return state.isOver
                }
                source.activate()
                if isOver { source.cancel() }
            }
        } onCancel: {
            end()
        }
    }

    /// Ends the wait, and every further one at once.
    func end() {
        let source = state.withLock { state in
            state.isOver = true
            return state.source
        }
        source?.cancel()
    }
}
