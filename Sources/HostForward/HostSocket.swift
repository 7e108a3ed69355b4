internal import Glibc
internal import Linux
internal import Ports
internal import ProcNet

/// A TCP socket on its way to be a forward's listener: bound to a host port, then listening, then the relay's.
///
/// It takes a port that nobody else has, and no other. Plain bind(2) would be enough to say so, if it did not also refuse
/// a port on which former connections linger, for a minute in TIME_WAIT. With SO_REUSEADDR it takes such a port, but also
/// one that another program has bound and does not listen on yet, whose listen(2) would then fail. So the second is
/// tried after the first, and counts only if there are connections that explain the refusal (docs/kernel-facts.md).
final class HostSocket {
    private var descriptor: OwnedDescriptor?

    /// Binds it.
    init(_ address: IPAddress, port: PortNumber) throws(SystemError) {
        let target = SocketAddress.tcp(address, port: port.rawValue)
        let socket = try StreamSocket.open(for: target)
        if address.isV6 { try StreamSocket.onlyV6(socket.rawValue) }
        do throws(SystemError) {
            try target.bind(socket.rawValue)
            // Before listen(2): accepted sockets inherit it, and only with it can the port be taken beside them.
            try StreamSocket.reuseAddress(socket.rawValue)
        } catch {
            guard error.isAddressInUse else { throw error }
            try StreamSocket.reuseAddress(socket.rawValue)
            try target.bind(socket.rawValue)
            guard LocalPortProbe().hasConnection(on: port) else { throw error }
        }
        StreamSocket.resetUnlessEnded(socket.rawValue)
        descriptor = consume socket
    }

    /// Has it listen. The kernel cuts the backlog to net.core.somaxconn, so the host's owner decides (listen(2)).
    func listen() throws(SystemError) {
        guard let fd = descriptor?.rawValue else { return }
        _ = try SystemError.check("listen", Glibc.listen(fd, Int32.max))
    }

    /// Gives the socket away, once.
    func take() throws(SystemError) -> OwnedDescriptor {
        guard let descriptor = descriptor.take() else { throw SystemError(code: EBADF, operation: "listen") }
        return descriptor
    }
}
