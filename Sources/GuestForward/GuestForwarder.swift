package import Linux
package import Relay
internal import Synchronization

/// The agent's forward port: takes tunnels from the host and connects each to a listener of this guest.
package final class GuestForwarder: Sendable {
    private let engine: RelayEngine
    private let policy: GuestRelayPolicy
    private let listeners = Mutex<[RelayListener]>([])

    /// - Parameter engine: moves the bytes; it may serve other listeners too and is not shut down here.
    package init(engine: RelayEngine, policy: GuestRelayPolicy) {
        self.engine = engine
        self.policy = policy
    }

    deinit { close() }

    /// Serves one more address; returns it as bound, which tells the port where 0 was given.
    ///
    /// A unix socket that nobody answers on any more is replaced, and only its owner may connect to the new one.
    ///
    /// - Throws: EADDRINUSE when somebody else serves the address.
    @discardableResult
    package func listen(on address: SocketAddress) throws(SystemError) -> SocketAddress {
        let socket = try ServiceSocket.listen(on: address)
        let listener = try engine.listen(on: socket, role: .guest(policy))
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
