package import Linux
package import PortForward
package import Ports
package import Relay
internal import Synchronization

/// The ways to a guest's ports beside their host ports: what is relayed to which target when a client comes by name.
///
/// A forward whose host port is blocked has a way too: its name needs no port of its own on the host.
package final class ForwardRoutes: Sendable {
    private struct State {
        var wanted: [WantedForward] = []
        /// Of the host ports that are open, wanted or held.
        var open: [WantedForward.Key: RelayTarget] = [:]
        /// Of wanted forwards without one, from the first client on.
        var made: [WantedForward.Key: RelayTarget] = [:]
        /// Made of `wanted` when somebody asks.
        var index: Index?
    }

    /// Which forward a name means.
    private struct Index {
        var byPort: [PortNumber: WantedForward.Key] = [:]
        var byLabel: [String: WantedForward.Key] = [:]
    }

    /// Whether a client, by its socket and the address it has connected to, is this user's or root's.
    package let isMine: @Sendable (_ client: Int32, _ server: SocketAddress) -> Bool
    private let make: @Sendable (WantedForward.Key) -> RelayTarget?
    private let state = Mutex(State())

    /// - Parameter make: makes a target for a forward without an open host port; nil where it may have none.
    init(
        isMine: @escaping @Sendable (_ client: Int32, _ server: SocketAddress) -> Bool,
        make: @escaping @Sendable (WantedForward.Key) -> RelayTarget?
    ) {
        self.isMine = isMine
        self.make = make
    }

    /// Every forward that there should be, static ones first, then by host port.
    package var wanted: [WantedForward] { state.withLock { $0.wanted } }

    /// Where clients of a port go: a port of the guest, or, where none is forwarded by that number, of the host.
    package func target(for port: PortNumber) -> RelayTarget? { target { $0.byPort[port] } }

    /// Where clients of a rule's label go: to the first port that has it.
    package func target(labelled label: String) -> RelayTarget? { target { $0.byLabel[label] } }

    private func target(_ find: (Index) -> WantedForward.Key?) -> RelayTarget? {
        state.withLock { state in
            let index = state.index ?? Self.index(state.wanted)
            state.index = index
            guard let key = find(index) else { return nil }
            if let target = state.open[key] ?? state.made[key] { return target }
            let target = make(key)
            state.made[key] = target
            return target
        }
    }

    func opened(_ forward: WantedForward.Key, _ target: RelayTarget?) {
        state.withLock { state in
            state.open[forward] = target
            state.made[forward] = nil
        }
    }

    /// Its target takes clients no more: those that waited were reset, and no others wait.
    func closed(_ forward: WantedForward.Key) {
        state.withLock { $0.open[forward] = nil }
    }

    func update(_ forwards: [WantedForward]) {
        state.withLock { state in
            state.wanted = forwards
            state.index = nil
            guard !state.made.isEmpty else { return }
            let keys = Set(forwards.map(\.key))
            state.made = state.made.filter { keys.contains($0.key) }
        }
    }

    private static func index(_ forwards: [WantedForward]) -> Index {
        let byGuest = Dictionary(forwards.map { ($0.key.guestPort, $0.key) }) { first, _ in first }
        let byPort = Dictionary(forwards.map { ($0.key.hostPort, $0.key) }) { first, _ in first }
            .merging(byGuest) { $1 }
        let labelled = forwards.compactMap { forward in forward.rule?.label.map { ($0, forward.key) } }
        return Index(byPort: byPort, byLabel: Dictionary(labelled) { first, _ in first })
    }
}
