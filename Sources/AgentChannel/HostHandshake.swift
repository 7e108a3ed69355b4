package import Relay

/// The host's side of a forwarded connection, before bytes flow.
///
/// ```
/// AgentOpening -> send preamble -> receive status, while client bytes go ahead -> relay
/// ```
/// Where the preamble says that the host waits, no client bytes go ahead, and a refusal may be asked about again. Whatever
/// else fails resets the client.
package struct HostHandshake: RelayHandshake {
    private enum State {
        case opening(AgentOpening)
        case asking
    }

    private var state: State
    private let preamble: ForwardPreamble
    private let greeting: [UInt8]

    /// - Parameters:
    ///   - opening: the way to the agent's forward port; one value serves many connections.
    ///   - greeting: the first bytes of the stream, before those of the client.
    package init(opening: AgentOpening, preamble: ForwardPreamble, greeting: [UInt8] = []) {
        state = .opening(opening)
        self.preamble = preamble
        self.greeting = greeting
    }

    package var keepsTunnel: Bool { preamble.keepsTunnel }

    package mutating func next(_ event: HandshakeEvent) -> HandshakeStep {
        switch state {
        case .opening(var opening):
            let step = opening.next(event)
            state = .opening(opening)
            guard case .relay = step else { return step }
            state = .asking
            return .send(preamble.bytes + preamble.tunnelForm.wrapped(greeting))
        case .asking:
            switch event {
            case .sent: return .receive(1, meanwhile: preamble.waitsForAnswer ? nil : preamble.tunnelForm)
            case .received(let bytes) where bytes == [ForwardStatus.connected.rawValue]:
                return .relay(preamble.tunnelForm)
            case .received(let bytes)
            where bytes == [ForwardStatus.refused.rawValue] && preamble.waitsForAnswer:
                return .away
            default: return .fail
            }
        }
    }
}

extension ForwardPreamble {
    /// How bytes travel behind it.
    var tunnelForm: TunnelForm {
        switch version {
        case .raw: .raw
        case .records, .tables, .kept: .records
        }
    }
}
