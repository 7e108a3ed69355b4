internal import Glibc
package import NIOCore

/// Finds out which vsock context the peer of a connection is in.
package struct PeerLookup: Sendable {
    /// The peer's CID; nil where the connection is no vsock. Fails where it can't be found out, as when the peer has
    /// already gone.
    let contextID: @Sendable (any Channel) -> EventLoopFuture<UInt32?>

    package init(_ contextID: @escaping @Sendable (any Channel) -> EventLoopFuture<UInt32?>) {
        self.contextID = contextID
    }

    /// Asks the kernel. NIO has no vsock peer address; SO_PEERNAME is getpeername(2) as a socket option
    /// (net/core/sock.c).
    package static let kernel = PeerLookup { channel in
        guard let options = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        return options.unsafeGetSocketOption(
            level: .init(rawValue: SOL_SOCKET), name: .init(rawValue: SO_PEERNAME)
        ).map { (address: VsockPeer) in
            Int32(address.family) == AF_VSOCK ? address.cid : nil
        }.flatMapErrorThrowing { error in
            // The name of a unix socket's client is empty, and too short to be a vsock address.
            guard let error = error as? IOError, error.errnoCode == EINVAL else { throw error }
            return nil
        }
    }
}

/// struct sockaddr_vm, as far as it matters: 16 bytes.
private struct VsockPeer {
    var family: UInt16 = 0
    var reserved: UInt16 = 0
    var port: UInt32 = 0
    var cid: UInt32 = 0
    var flagsAndPadding: UInt32 = 0
}
