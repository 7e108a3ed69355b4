internal import Linux
package import Relay

/// The way to a port of an agent, until its own protocol can start: the connect, and on a hybrid vsock socket the line
/// `CONNECT <port>` with its answer. It is the same for RPC and for forwarded connections. Where there is a question, it is
/// asked then, and the agent's status is waited for.
///
/// ```
/// dial -> connected -> relay                                    vsock, unix, tcp
/// dial -> connected -> send CONNECT -> receive ... "OK n\n" -> relay    hybrid
/// ... -> send the question -> receive a status -> relay
/// ```
package struct AgentOpening: RelayHandshake {
    private let socketAddress: SocketAddress
    /// What makes a hybrid socket lead to the agent; empty on others.
    private let greeting: [UInt8]
    private let question: [UInt8]
    private var isAsked = false
    private var line: [UInt8] = []
    /// Why it failed; nil before.
    package private(set) var failure: AgentDialError.Reason?

    /// - Parameter question: a preamble of the forward port.
    package init(to port: AgentPort, of address: AgentAddress, asking question: [UInt8] = []) {
        socketAddress = address.socketAddress(for: port)
        greeting = if case .hybrid = address { Array("CONNECT \(port.rawValue)\n".utf8) } else { [] }
        self.question = question
    }

    package mutating func next(_ event: HandshakeEvent) -> HandshakeStep {
        switch event {
        case .accepted: return .dial(socketAddress)
        // What opens a tunnel has been said when it was new.
        case .reused: return ask()
        case .connected: return greeting.isEmpty ? ask() : .send(greeting)
        // Byte by byte: what follows the line belongs to the agent's protocol.
        case .sent: return .receive(1)
        case .received(let bytes) where isAsked:
            let status = bytes.first.flatMap(ForwardStatus.init)
            return status == .connected ? .relay(.raw) : fail(.refused(status))
        case .received(let bytes):
            line += bytes
            switch HybridAnswer(line) {
            case .incomplete: return .receive(1)
            case .accepted: return ask()
            case .refused(let text): return fail(.greetingRefused(text))
            }
        case .failed(let error): return fail(AgentDialError.Reason(error))
        }
    }

    private mutating func ask() -> HandshakeStep {
        guard !question.isEmpty else { return .relay(.raw) }
        isAsked = true
        return .send(question)
    }

    private mutating func fail(_ reason: AgentDialError.Reason) -> HandshakeStep {
        failure = reason
        return .fail
    }
}
