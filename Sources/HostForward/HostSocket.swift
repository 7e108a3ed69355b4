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
    ///
    /// - Parameter wasOurs: this process has closed the port a moment ago, so what lingers on it is its own.
    init(_ address: IPAddress, port: PortNumber, wasOurs: Bool = false) throws(SystemError) {
        if wasOurs, let socket = try? Self.bindAgain(address, port) {
            descriptor = consume socket
            return
        }
        descriptor = try Self.bind(address, port)
        // A connection that explains the refusal may have ended before it was looked for.
        if descriptor == nil { descriptor = try Self.bind(address, port) }
        if descriptor == nil { throw SystemError(code: EADDRINUSE, operation: "bind") }
    }

    private static func bindAgain(
        _ address: IPAddress, _ port: PortNumber
    ) throws(SystemError) -> OwnedDescriptor {
        let target = SocketAddress.tcp(address, port: port.rawValue)
        let socket = try open(target)
        try StreamSocket.reuseAddress(socket.rawValue)
        try target.bind(socket.rawValue)
        return socket
    }

    /// nil when somebody seems to have bound the port who does not listen yet.
    private static func bind(
        _ address: IPAddress, _ port: PortNumber
    ) throws(SystemError) -> OwnedDescriptor? {
        let target = SocketAddress.tcp(address, port: port.rawValue)
        let socket = try open(target)
        do throws(SystemError) {
            try target.bind(socket.rawValue)
            // Before listen(2): accepted sockets inherit it, and only with it can the port be taken beside them.
            try StreamSocket.reuseAddress(socket.rawValue)
        } catch {
            guard error.isAddressInUse else { throw error }
            try StreamSocket.reuseAddress(socket.rawValue)
            try target.bind(socket.rawValue)
            guard LocalPortProbe().hasConnection(on: port) else { return nil }
        }
        return consume socket
    }

    private static func open(_ target: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        let socket = try StreamSocket.open(for: target)
        if case .tcp(let address, _, _) = target, address.isV6 { try StreamSocket.onlyV6(socket.rawValue) }
        // Before listen(2): accepted sockets inherit it.
        StreamSocket.resetUnlessEnded(socket.rawValue)
        return socket
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
