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
        /// Of all forwards that somebody has asked for, or that are open.
        var ways: [WantedForward.Key: ForwardWay] = [:]
        /// The host ports of those that are open, wanted or held.
        var open: [WantedForward.Key: PortNumber] = [:]
        /// Made of `wanted` and `open` when somebody asks.
        var index: Index?
    }

    /// Which forward a name means.
    private struct Index {
        var byPort: [PortNumber: WantedForward.Key] = [:]
        var byLabel: [String: WantedForward.Key] = [:]
    }

    /// Whether a client, by its socket and the address it has connected to, is this user's or root's.
    package let isMine: @Sendable (_ client: Int32, _ server: SocketAddress) -> Bool
    private let make: @Sendable (WantedForward.Key) throws(BindFailure) -> RelayRole
    private let state = Mutex(State())

    /// - Parameter make: makes what is done with clients of a forward; throws where it may have none.
    init(
        isMine: @escaping @Sendable (_ client: Int32, _ server: SocketAddress) -> Bool,
        make: @escaping @Sendable (WantedForward.Key) throws(BindFailure) -> RelayRole
    ) {
        self.isMine = isMine
        self.make = make
    }

    /// Every forward that there should be, static ones first, then by port of the guest; with the host port that it has, nil while
    /// it has none.
    package var wanted: [(forward: WantedForward, host: PortNumber?)] {
        state.withLock { state in state.wanted.map { ($0, state.open[$0.key]) } }
    }

    /// Where clients of a port go: a port of the guest, or, where none is forwarded by that number, of the host.
    package func target(for port: PortNumber) -> RelayTarget? { target { $0.byPort[port] } }

    /// Where clients of a rule's label go: to the first port that has it.
    package func target(labelled label: String) -> RelayTarget? { target { $0.byLabel[label] } }

    private func target(_ find: (Index) -> WantedForward.Key?) -> RelayTarget? {
        state.withLock { state in
            let index = state.index ?? Self.index(state.wanted, state.open)
            state.index = index
            return find(index).flatMap { try? way(to: $0, &state) }?.named
        }
    }

    /// The way of a forward that is wanted.
    func way(to forward: WantedForward.Key) throws(BindFailure) -> ForwardWay {
        try state.withLock { state throws(BindFailure) in try way(to: forward, &state) }
    }

    private func way(to forward: WantedForward.Key, _ state: inout State) throws(BindFailure) -> ForwardWay {
        if let way = state.ways[forward] { return way }
        let way = ForwardWay(role: try make(forward))
        state.ways[forward] = way
        return way
    }

    /// What has come to a forward by name.
    func counters(of forward: WantedForward.Key) -> ForwardCounters {
        let way = state.withLock { $0.ways[forward] }
        return ForwardCounters(way.map { [$0.named.counters] } ?? [])
    }

    func opened(_ forward: WantedForward.Key, on port: PortNumber) {
        state.withLock { ($0.open[forward], $0.index) = (port, nil) }
    }

    /// Its way takes clients no more: those that waited were reset, and no others wait.
    func closed(_ forward: WantedForward.Key) {
        state.withLock { ($0.open[forward], $0.ways[forward], $0.index) = (nil, nil, nil) }
    }

    /// Returns the ways that end by this.
    func update(_ forwards: [WantedForward]) -> [ForwardWay] {
        state.withLock { state in
            (state.wanted, state.index) = (forwards, nil)
            guard state.ways.count > state.open.count else { return [] }
            let keys = Set(forwards.map(\.key))
            let gone = state.ways.filter { !keys.contains($0.key) && state.open[$0.key] == nil }
            for key in gone.keys { state.ways[key] = nil }
            return Array(gone.values)
        }
    }

    private static func index(
        _ forwards: [WantedForward], _ open: [WantedForward.Key: PortNumber]
    ) -> Index {
        let byGuest = Dictionary(forwards.map { ($0.key.guestPort, $0.key) }) { first, _ in first }
        let onHost = forwards.map { (open[$0.key] ?? $0.key.hostPort, $0.key) }
        let byPort = Dictionary(onHost) { first, _ in first }.merging(byGuest) { $1 }
        let labelled = forwards.compactMap { forward in forward.rule?.label.map { ($0, forward.key) } }
        return Index(byPort: byPort, byLabel: Dictionary(labelled) { first, _ in first })
    }
}
