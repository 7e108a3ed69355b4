import Control
import Synchronization

/// The clients that follow what happens.
final class Subscribers: Sendable {
    private struct State {
        var peers: [ControlPeer] = []
        var waiters: [Int: AsyncStream<Void>.Continuation] = [:]
        var lastWaiter = 0
    }

    private let state = Mutex(State())

    func add(_ peer: ControlPeer) { state.withLock { $0.peers.append(peer) } }

    func remove(_ peer: ControlPeer) { state.withLock { $0.peers.removeAll { $0 === peer } } }

    /// Tells all of them; waits for none.
    func tell(_ make: @autoclosure () -> ControlMessage) {
        let (peers, waiters) = state.withLock { ($0.peers, Array($0.waiters.values)) }
        if !peers.isEmpty {
            let message = make()
            for peer in peers { peer.send(message) }
        }
        for waiter in waiters { waiter.yield() }
    }

    /// An element at once, and after everything that is told; those that come too fast are one.
    func changes() -> AsyncStream<Void> {
        let stream = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.lastWaiter += 1
            state.waiters[state.lastWaiter] = stream.continuation
            return state.lastWaiter
        }
        stream.continuation.onTermination = { [weak self] _ in
            self?.state.withLock { _ = $0.waiters.removeValue(forKey: number) }
        }
        stream.continuation.yield()
        return stream.stream
    }
}
