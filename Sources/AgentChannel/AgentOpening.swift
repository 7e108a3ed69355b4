internal import Linux
package import Relay

/// The way to a port of an agent, until its own protocol can start: the connect, and on a hybrid vsock socket the line
/// `CONNECT <port>` with its answer. It is the same for RPC and for forwarded connections.
///
/// ```
/// dial -> connected -> relay                                    vsock, unix, tcp
/// dial -> connected -> send CONNECT -> receive ... "OK n\n" -> relay    hybrid
/// ```
package struct AgentOpening: RelayHandshake {
    private let address: AgentAddress
    private let port: AgentPort
    private var line: [UInt8] = []
    /// Why it failed; nil before.
    package private(set) var failure: AgentDialError.Reason?

    package init(to port: AgentPort, of address: AgentAddress) {
        self.address = address
        self.port = port
    }

    package mutating func next(_ event: HandshakeEvent) -> HandshakeStep {
        switch event {
        case .accepted: return .dial(address.socketAddress(for: port))
        case .connected:
            guard case .hybrid = address else { return .relay(.raw) }
            return .send(Array("CONNECT \(port.rawValue)\n".utf8))
        // Byte by byte: what follows the line belongs to the agent's protocol.
        case .sent: return .receive(1)
        case .received(let bytes):
            line += bytes
            switch HybridAnswer(line) {
            case .incomplete: return .receive(1)
            case .accepted: return .relay(.raw)
            case .refused(let text): return fail(.greetingRefused(text))
            }
        case .failed(let error): return fail(AgentDialError.Reason(error))
        }
    }

    private mutating func fail(_ reason: AgentDialError.Reason) -> HandshakeStep {
        failure = reason
        return .fail
    }
}
