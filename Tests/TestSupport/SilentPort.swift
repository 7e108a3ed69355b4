internal import Glibc
package import Linux

/// A port of the kernel's choosing that nobody listens on and that the kernel gives to nobody else, since a socket is bound to it.
///
/// A port that was only let go of is given to another socket of the same test now and then: once in some ten thousand binds.
package final class SilentPort {
    package let address: SocketAddress
    private var socket: OwnedDescriptor?

    package init() throws(SystemError) {
        let socket = try Self.bound(to: .tcp(.loopbackV4, port: 0))
        address = try StreamSocket.localAddress(socket.rawValue)
        self.socket = consume socket
    }

    /// Listens on it; nil while the listener that it gave before has not been closed and `fallSilent` called.
    package func listen() throws(SystemError) -> OwnedDescriptor? {
        guard let socket = socket.take() else { return nil }
        _ = try SystemError.check("listen", Glibc.listen(socket.rawValue, 16))
        return socket
    }

    /// Takes the port again once its listener is closed.
    package func fallSilent() throws(SystemError) { socket = try Self.bound(to: address) }

    private static func bound(to address: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        let socket = try StreamSocket.open(for: address)
        try StreamSocket.reuseAddress(socket.rawValue)
        try address.bind(socket.rawValue)
        return socket
    }
}
