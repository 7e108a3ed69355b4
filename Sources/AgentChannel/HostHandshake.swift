package import Relay

/// The host's side of a forwarded connection, before bytes flow.
///
/// ```
/// AgentOpening -> send preamble -> receive status, while client bytes go ahead -> relay
/// ```
/// Whatever fails resets the client.
package struct HostHandshake: RelayHandshake {
    private enum State {
        case opening(AgentOpening)
        case asking
    }

    private var state: State
    private let preamble: ForwardPreamble

    package init(agent: AgentAddress, preamble: ForwardPreamble) {
        state = .opening(AgentOpening(to: .forward, of: agent))
        self.preamble = preamble
    }

    package mutating func next(_ event: HandshakeEvent) -> HandshakeStep {
        switch state {
        case .opening(var opening):
            let step = opening.next(event)
            state = .opening(opening)
            guard case .relay = step else { return step }
            state = .asking
            return .send(preamble.bytes)
        case .asking:
            switch event {
            case .sent: return .receive(1, meanwhile: preamble.tunnelForm)
            case .received(let bytes) where bytes == [ForwardStatus.connected.rawValue]:
                return .relay(preamble.tunnelForm)
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
        case .records: .records
        }
    }
}
