package import AgentChannel
package import Linux
package import Relay
internal import Synchronization

/// The agent's forward port: takes tunnels from the host and connects each to a listener of this guest.
package final class GuestForwarder: Sendable {
    /// The host's CID (VMADDR_CID_HOST, vsock(7)): no other vsock peer may speak.
    private static let hostCID: UInt32 = 2

    private let engine: RelayEngine
    private let role: RelayRole
    private let listeners = Mutex<[RelayListener]>([])

    /// - Parameters:
    ///   - engine: moves the bytes; it may serve other listeners too and is not shut down here.
    ///   - token: what every tunnel must show.
    ///   - tables: gets the connections that ask for tables; nil refuses them.
    package init(
        engine: RelayEngine, token: MachineToken, targets: DialTargets, tables: (any TableSender)? = nil
    ) {
        self.engine = engine
        role = RelayRole(
            tunnel: .accepted, admitsVsockPeer: { $0 == Self.hostCID },
            handshake: { GuestHandshake(token: token, tables: tables) { targets.addresses(for: $0) } })
    }

    deinit { close() }

    /// Serves one more address; returns it as bound, which tells the port where 0 was given.
    ///
    /// A unix socket that nobody answers on any more is replaced, and only its owner may connect to the new one.
    ///
    /// - Throws: EADDRINUSE when somebody else serves the address.
    @discardableResult
    package func listen(on address: SocketAddress) throws(SystemError) -> SocketAddress {
        let listener = try engine.listen(on: ServiceSocket.listen(on: address), role: role)
        listeners.withLock { $0.append(listener) }
        return listener.address
    }

    /// What went through each address so far.
    package var counters: [(address: SocketAddress, counters: RelayCounters)] {
        listeners.withLock { $0.map { ($0.address, $0.counters) } }
    }

    /// Stops listening; live connections go on.
    package func close() {
        let all = listeners.withLock { listeners in
            defer { listeners = [] }
            return listeners
        }
        for listener in all {
            ServiceSocket.remove(listener.address)
            listener.close()
        }
    }
}
