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
        case dialling(ArraySlice<SocketAddress>, TunnelForm)
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
        case (.dialling(_, let form), .connected):
            return .relay(form, saying: [ForwardStatus.connected.rawValue])
        case (.dialling(let rest, let form), .failed):
            guard let address = rest.first else { return refuse(.refused) }
            state = .dialling(rest.dropFirst(), form)
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
        if let port = Self.port(bytes, at: MachineToken.size) { return dial(port, .raw) }
        let whole = ForwardPreamble.firstSize + ForwardPreamble.secondSize
        guard bytes.count == whole else { return .receive(whole - bytes.count) }
        guard bytes[ForwardPreamble.firstSize] == ForwardVersion.records.rawValue,
            let port = Self.port(bytes, at: whole - 2)
        else { return refuse(.notAllowed) }
        return dial(port, .records)
    }

    private mutating func dial(_ port: PortNumber, _ form: TunnelForm) -> HandshakeStep {
        let addresses = targets(port)[...]
        guard let first = addresses.first else { return refuse(.notAllowed) }
        state = .dialling(addresses.dropFirst(), form)
        return .dial(first)
    }

    private func refuse(_ status: ForwardStatus) -> HandshakeStep { .refuse([status.rawValue]) }

    private static func port(_ bytes: [UInt8], at index: Int) -> PortNumber? {
        PortNumber(UInt16(bytes[index]) << 8 | UInt16(bytes[index + 1]))
    }
}
