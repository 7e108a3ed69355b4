internal import CNetlink
internal import Glibc
package import Linux
package import Ports

/// The kernel's multicast of destroyed sockets (sock_diag, Linux 4.5), of the network namespace of the thread that made
/// the object. A socket filter drops connections, which have a peer port, before they reach us.
package final class DestroyedSockets {
    private let socket: NetlinkSocket
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 << 10, alignment: 8)

    package init() throws(SystemError) {
        let groups = [SKNLGRP_INET_TCP_DESTROY.rawValue, SKNLGRP_INET6_TCP_DESTROY.rawValue]
        socket = try NetlinkSocket(bus: NETLINK_SOCK_DIAG, groups: groups)
        _ = try SystemError.check("socket filter", cnetlink_keep_unconnected(socket.descriptor))
    }

    deinit { buffer.deallocate() }

    /// Readable when there is something to read; valid while this object lives.
    package var descriptor: Int32 { socket.descriptor }

    /// The local ends in one datagram; nil when there is none.
    ///
    /// - Throws: ENOBUFS or ENOSPC when the kernel dropped some.
    package func read() throws(SystemError) -> [(address: IPAddress, port: PortNumber)]? {
        do throws(SystemError) {
            let count = try socket.receive(into: buffer)
            return DiagReply.destroyed(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
        } catch {
            guard error.code == EAGAIN else { throw error }
            return nil
        }
    }
}
