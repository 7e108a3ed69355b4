internal import Glibc

/// Listening sockets of a service that outlives its clients and may be started again.
package enum ServiceSocket {
    /// Binds and listens. A unix socket that nobody answers on any more is replaced, and only its owner may
    /// connect to the new one; `remove(_:)` takes it away when the service ends.
    ///
    /// - Throws: EADDRINUSE when somebody else serves the address.
    package static func listen(on address: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        if case .unix(let path) = address { try removeStaleFile(path) }
        return try StreamSocket.listen(on: address)
    }

    /// Removes the file of a unix socket; does nothing for other addresses.
    package static func remove(_ address: SocketAddress) {
        if case .unix(let path) = address { unlink(path) }
    }

    /// A socket file whose process has gone refuses connects, and blocks bind(2) until it is removed (unix(7)). Any other file
    /// refuses them too, and is somebody's.
    private static func removeStaleFile(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            _ = try StreamSocket.connect(to: .unix(path: path))
        } catch {
            var status = stat()
            guard error.code == ECONNREFUSED, lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK
            else { return }
            unlink(path)
        }
    }
}
