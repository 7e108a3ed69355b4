package import Linux
package import Ports
package import Relay

/// The agent's side of a forwarded connection, before bytes flow.
///
/// ```
/// receive preamble -> dial a target -> connected -> relay, saying 0
///                                   -> failed    -> dial the next
///                  -> hand over                  where tables are asked for
///                  -> refuse 1, 2 or 3
/// ```
package struct GuestHandshake: RelayHandshake {
    private enum State {
        /// Bytes of the preamble so far.
        case reading([UInt8])
        /// The rest of the addresses to try.
        case dialling(ArraySlice<SocketAddress>, Answer)
        case asked(PortRange)
    }

    /// How the answer is given when a server is reached.
    private struct Answer {
        var form: TunnelForm
        var atOnce = false
        var keepsTunnel = false
    }

    private var state = State.reading([])
    private let token: MachineToken
    private let targets: @Sendable (PortNumber) -> [SocketAddress]
    private let tables: (any TableSender)?

    /// - Parameters:
    ///   - token: what every preamble must show.
    ///   - tables: gets the connections that ask for tables; nil refuses them.
    ///   - targets: the addresses to try, in order, for a port; must not wait.
    package init(
        token: MachineToken, tables: (any TableSender)? = nil,
        targets: @escaping @Sendable (PortNumber) -> [SocketAddress]
    ) {
        self.token = token
        self.tables = tables
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

    package var keepsTunnel: Bool {
        if case .dialling(_, let answer) = state { answer.keepsTunnel } else { false }
    }

    package func take(_ tunnel: consuming OwnedDescriptor) {
        if case .asked(let range) = state { tables?.add(tunnel, range: range) }
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
        // The version says how much there is; every second part is at least as long as the shortest.
        let version = bytes.dropFirst(ForwardPreamble.firstSize).first
        let wantsTables = version == ForwardVersion.tables.rawValue
        let whole =
            ForwardPreamble.firstSize + (wantsTables ? TablePreamble.secondSize : ForwardPreamble.secondSize)
        guard bytes.count >= whole else {
            let shortest = ForwardPreamble.firstSize + ForwardPreamble.secondSize
            return .receive((bytes.count < shortest ? shortest : whole) - bytes.count)
        }
        let last = Self.port(bytes, at: whole - 2)
        if wantsTables { return offer(Self.port(bytes, at: whole - 4), last) }
        guard version == ForwardVersion.records.rawValue, let last else { return refuse(.notAllowed) }
        let flags = bytes[ForwardPreamble.firstSize + 1]
        return dial(
            last,
            Answer(
                form: .records, atOnce: flags & ForwardPreamble.waitingFlag != 0,
                keepsTunnel: flags & ForwardPreamble.keepingFlag != 0))
    }

    private mutating func offer(_ lower: PortNumber?, _ upper: PortNumber?) -> HandshakeStep {
        guard let lower, let upper, let range = PortRange(lower, upper), let tables, tables.hasRoom else {
            return refuse(.notAllowed)
        }
        state = .asked(range)
        return .handOver
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
