package import Linux
package import Ports
package import Relay

/// The agent's side of a forwarded connection, before bytes flow.
///
/// ```
/// receive preamble -> dial a target -> connected -> relay, saying 0
///                                   -> failed    -> dial the next
///                  -> refuse 1, 2 or 3
/// ```
package struct GuestHandshake: RelayHandshake {
    private enum State {
        /// Bytes of the preamble so far.
        case reading([UInt8])
        /// The rest of the addresses to try.
        case dialling(ArraySlice<SocketAddress>, Answer)
    }

    /// How the answer is given when a server is reached.
    private struct Answer {
        var form: TunnelForm
        var atOnce = false
    }

    private var state = State.reading([])
    private let token: MachineToken
    private let targets: @Sendable (PortNumber) -> [SocketAddress]

    /// - Parameters:
    ///   - token: what every preamble must show.
    ///   - targets: the addresses to try, in order, for a port; must not wait.
    package init(token: MachineToken, targets: @escaping @Sendable (PortNumber) -> [SocketAddress]) {
        self.token = token
        self.targets = targets
    }

    package mutating func next(_ event: HandshakeEvent) -> HandshakeStep {
        switch (state, event) {
        case (.reading, .accepted): return .receive(ForwardPreamble.firstSize)
        case (.reading(let before), .received(let bytes)): return read(before + bytes)
        case (.dialling(_, let answer), .connected):
            return .relay(answer.form, saying: [ForwardStatus.connected.rawValue], atOnce: answer.atOnce)
        case (.dialling(let rest, let answer), .failed):
            guard let address = rest.first else { return refuse(.refused) }
            state = .dialling(rest.dropFirst(), answer)
            return .dial(address)
        default: return .fail
        }
    }

    private mutating func read(_ bytes: [UInt8]) -> HandshakeStep {
        state = .reading(bytes)
        guard bytes.count >= ForwardPreamble.firstSize else {
            return .receive(ForwardPreamble.firstSize - bytes.count)
        }
        guard let shown = MachineToken(bytes: bytes.prefix(MachineToken.size)), shown.matches(token) else {
            return refuse(.badToken)
        }
        if let port = Self.port(bytes, at: MachineToken.size) { return dial(port, Answer(form: .raw)) }
        let whole = ForwardPreamble.firstSize + ForwardPreamble.secondSize
        guard bytes.count == whole else { return .receive(whole - bytes.count) }
        guard bytes[ForwardPreamble.firstSize] == ForwardVersion.records.rawValue,
            let port = Self.port(bytes, at: whole - 2)
        else { return refuse(.notAllowed) }
        let flags = bytes[ForwardPreamble.firstSize + 1]
        return dial(port, Answer(form: .records, atOnce: flags & ForwardPreamble.waitingFlag != 0))
    }

    private mutating func dial(_ port: PortNumber, _ answer: Answer) -> HandshakeStep {
        let addresses = targets(port)[...]
        guard let first = addresses.first else { return refuse(.notAllowed) }
        state = .dialling(addresses.dropFirst(), answer)
        return .dial(first)
    }

    private func refuse(_ status: ForwardStatus) -> HandshakeStep { .refuse([status.rawValue]) }

    private static func port(_ bytes: [UInt8], at index: Int) -> PortNumber? {
        PortNumber(UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1]))
    }
}
