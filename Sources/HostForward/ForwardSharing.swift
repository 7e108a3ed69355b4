internal import AgentAPI
internal import AgentSession
internal import PortForward
internal import Ports
internal import Synchronization

/// Tells the guest which of its ports the host has open, and where, so that its programs can know.
final class ForwardSharing: Sendable {
    private let current = Mutex<AsyncStream<Void>.Continuation?>(nil)

    /// Something has happened to a forward. Never waits.
    func note() { current.withLock { $0 }?.yield() }

    /// Tells an agent of all changes until the task is cancelled; one that does not want to know is left alone.
    ///
    /// - Parameter forwards: what there is.
    func run(
        with agent: AgentConnection, _ forwards: @escaping @Sendable () async -> [ForwardSnapshot]
    ) async {
        let changes = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        changes.continuation.yield()
        current.withLock { $0 = changes.continuation }
        try? await agent.shareForwards { send in
            var last: [ForwardedPort]?
            for await _ in changes.stream {
                let list = await forwards().filter(\.state.isOpen).map {
                    ForwardedPort(
                        guest: $0.forward.guestPort, host: $0.forward.hostPort, bind: $0.forward.bind)
                }
                if list != last { try await send(list) }
                last = list
                try await Task.sleep(for: AgentLimits.betweenForwards)
            }
        }
    }
}
