package import AgentChannel
internal import Ports
internal import Relay
internal import Synchronization

/// The agent that forwarded connections go to, and how it is spoken to.
package final class ForwardTarget: Sendable {
    private let place: Mutex<(address: AgentAddress, opening: AgentOpening)>
    private let token: MachineToken
    /// A `ForwardVersion`.
    private let version: Atomic<UInt8>

    /// - Parameter version: what to speak until the agent has told what it knows; every agent knows `raw`.
    package init(address: AgentAddress, token: MachineToken, version: ForwardVersion = .raw) {
        place = Mutex((address, AgentOpening(to: .forward, of: address)))
        self.token = token
        self.version = Atomic(version.rawValue)
    }

    /// Where the agent is; a new one counts for connections that begin from now on.
    package var address: AgentAddress {
        get { place.withLock { $0.address } }
        set { place.withLock { $0 = (newValue, AgentOpening(to: .forward, of: newValue)) } }
    }

    /// Speaks this version on connections that begin from now on.
    package func speak(_ new: ForwardVersion) { version.store(new.rawValue, ordering: .relaxed) }

    /// The handshake of a new connection to a port of the guest.
    ///
    /// - Parameters:
    ///   - waits: the client's bytes stay where they are until the server is reached.
    ///   - greeting: what the server gets before them.
    func handshake(for port: PortNumber, waits: Bool = false, greeting: [UInt8] = []) -> HostHandshake {
        let version = ForwardVersion(rawValue: version.load(ordering: .relaxed)) ?? .raw
        return HostHandshake(
            opening: place.withLock { $0.opening },
            preamble: ForwardPreamble(token: token, port: port, version: version, waitsForAnswer: waits),
            greeting: greeting)
    }
}
