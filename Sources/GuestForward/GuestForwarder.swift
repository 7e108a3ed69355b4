internal import Glibc
package import Relay
package import Sockets
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
        if case .unix(let path) = address { try Self.removeStaleSocket(path) }
        let socket = try StreamSocket.listen(on: address)
        if case .unix(let path) = address { _ = try SystemError.check("chmod", chmod(path, 0o600)) }
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
            if case .unix(let path) = listener.address { unlink(path) }
            listener.close()
        }
    }

    /// A socket file whose process has gone refuses connects, and blocks bind(2) until it is removed (unix(7)).
    private static func removeStaleSocket(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            _ = try StreamSocket.connect(to: .unix(path: path))
        } catch {
            guard error.code == ECONNREFUSED else { return }
            unlink(path)
        }
    }
}
