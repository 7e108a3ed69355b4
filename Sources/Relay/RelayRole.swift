package import Linux

/// What a listener does with the connections it accepts.
package struct RelayRole: Sendable {
    /// The end of a connection that leads to the other relay.
    package enum Tunnel: Sendable {
        /// This side accepts tunnels and dials servers.
        case accepted
        /// This side accepts clients and dials tunnels.
        case dialled
    }

    package var tunnel: Tunnel
    /// Makes the handshake of a new connection, whose accepted socket this is, or of one that dials again. Called on an
    /// event loop: it must not wait.
    package var handshake: @Sendable (_ accepted: Int32) -> any RelayHandshake
    /// Whether the peer of an accepted socket, whose address this is, may speak at all; asked for vsock peers only.
    package var admitsVsockPeer: @Sendable (_ cid: UInt32) -> Bool
    /// Whether a client may be served; nil serves all. One that may not is reset. Called on an event loop right after
    /// accept(2): it must not wait.
    package var admitsClient: (@Sendable (RelayClient) -> Bool)?
    /// Has clients wait while their server is away; nil resets them. Its handshakes must not let client bytes go ahead: what
    /// has been read can't be put back.
    package var hold: RelayHold?

    /// Lets the first bytes of a client say what it is relayed to; nil relays all to one place, by `handshake`.
    package var entrance: RelayEntrance?

    /// Whether a TCP client is accepted before it has said anything. Where that is not awaited, the kernel wakes nobody for
    /// one that is silent, for a second (TCP_DEFER_ACCEPT, tcp(7)).
    package var acceptsSilent = true

    /// A role of clients that are relayed to other targets by their first bytes.
    package init(entrance: RelayEntrance) {
        self.init(tunnel: .dialled) { NoHandshake() }
        self.entrance = entrance
    }

    package init(
        tunnel: Tunnel, admitsVsockPeer: @escaping @Sendable (_ cid: UInt32) -> Bool = { _ in true },
        handshake: @escaping @Sendable () -> any RelayHandshake
    ) {
        self.tunnel = tunnel
        self.handshake = { _ in handshake() }
        self.admitsVsockPeer = admitsVsockPeer
    }

    /// Whether the peer of an accepted socket may speak at all.
    func admits(peerOf fd: Int32, _ transport: Transport) -> Bool {
        guard transport == .vsock else { return true }
        guard case .vsock(let cid, _)? = try? StreamSocket.peerAddress(fd) else { return false }
        return admitsVsockPeer(cid)
    }
}

/// A client that has been accepted.
package struct RelayClient {
    /// It stays the relay's.
    package let socket: Int32
    package let address: SocketAddress
    /// What it has connected to.
    package let server: SocketAddress
}

/// Of a role whose clients go elsewhere.
private struct NoHandshake: RelayHandshake {
    mutating func next(_ event: HandshakeEvent) -> HandshakeStep { .fail }
}
