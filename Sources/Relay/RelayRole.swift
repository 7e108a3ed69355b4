package import AgentChannel
package import Linux
package import Ports

/// What a listener does with the connections it accepts.
package enum RelayRole: Sendable {
    /// Dials the agent and asks for a guest port; the client is reset when that fails.
    case host(agent: AgentAddress, preamble: ForwardPreamble)
    /// Reads the preamble and dials the guest's own listener.
    case guest(GuestRelayPolicy)
}

/// Whom the agent's forward port serves, and where it connects them to.
package struct GuestRelayPolicy: Sendable {
    /// What every preamble must show.
    package var token: MachineToken
    /// The only CID a vsock peer may have; nil for any. The host is 2 (vsock(7), VMADDR_CID_HOST).
    package var peerCID: UInt32?
    /// The addresses to try, in order, for a port; empty when it does not listen or may not be forwarded.
    ///
    /// Called on an event loop for every connection: it must answer in microseconds and not wait.
    package var dialTargets: @Sendable (PortNumber) -> [SocketAddress]

    package init(
        token: MachineToken, peerCID: UInt32? = 2,
        dialTargets: @escaping @Sendable (PortNumber) -> [SocketAddress]
    ) {
        self.token = token
        self.peerCID = peerCID
        self.dialTargets = dialTargets
    }
}

extension GuestRelayPolicy {
    /// Whether the peer of an accepted socket may speak at all.
    func admits(peerOf fd: Int32, _ transport: Transport) -> Bool {
        guard transport == .vsock, let peerCID else { return true }
        if case .vsock(peerCID, _)? = try? StreamSocket.peerAddress(fd) { return true }
        return false
    }
}
