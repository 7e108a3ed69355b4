internal import Linux

/// Sockets for the connections to servers, one of which is made and set up in advance, while nobody waits for it: of an
/// agent's share in the way to a server that saves the calls in front of connect(2).
struct ServerSockets: ~Copyable {
    private var ready: OwnedDescriptor?
    /// The last that one was taken for; of its family is `ready`.
    private var pattern: SocketAddress?

    var isReady: Bool { ready != nil }

    /// A socket for this address, set up but not connected.
    mutating func take(for address: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        if pattern?.family != address.family {
            ready = nil
            pattern = address
        }
        return if let socket = ready.take() { socket } else { try Self.make(address) }
    }

    /// Makes one like the last that was taken, unless there is one. Without descriptors there will be none.
    mutating func prepare() {
        if ready == nil, let pattern { ready = try? Self.make(pattern) }
    }

    /// Closes the one that is ready.
    mutating func close() { ready = nil }

    private static func make(_ address: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        let socket = try StreamSocket.prepare(for: address)
        if case .tcp = address { StreamSocket.resetUnlessEnded(socket.rawValue) }
        return socket
    }
}
