internal import Ports
internal import Synchronization

/// What of an agent's ports is followed, which may change meanwhile.
final class FollowedPorts: Sendable {
    struct Ports: Hashable, Sendable {
        /// nil for none.
        var range: PortRange?
        /// Whether the details of processes are asked for.
        var describesProcesses: Bool
    }

    private struct State {
        var ports: Ports
        /// Of which the newest table was.
        var reported: Ports?
        var waits: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var lastWait: UInt64 = 0
    }

    private let state: Mutex<State>

    init(_ ports: Ports) { state = Mutex(State(ports: ports)) }

    var ports: Ports { state.withLock { $0.ports } }

    /// Other ports are to be followed from now on.
    func change(to ports: Ports) {
        state.withLock {
            guard $0.ports != ports else { return }
            $0.ports = ports
            for wait in $0.waits.values { wait.yield() }
        }
    }

    /// A table of `ports` has been reported, or these are none.
    func report(_ ports: Ports) {
        state.withLock {
            guard $0.reported != ports else { return }
            $0.reported = ports
            for wait in $0.waits.values { wait.yield() }
        }
    }

    /// Returns when others than `ports` are to be followed, or the task is cancelled.
    func untilOther(than ports: Ports) async { await wait { $0.ports != ports } }

    /// Returns when the newest table is one of what is followed, or the task is cancelled.
    func untilReported() async { await wait { $0.reported == $0.ports } }

    private func wait(for isOver: @Sendable (borrowing State) -> Bool) async {
        let news = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let id = state.withLock {
            $0.lastWait += 1
            $0.waits[$0.lastWait] = news.continuation
            return $0.lastWait
        }
        defer { state.withLock { _ = $0.waits.removeValue(forKey: id) } }
        news.continuation.yield()
        for await _ in news.stream where state.withLock({ isOver($0) }) { return }
    }
}
