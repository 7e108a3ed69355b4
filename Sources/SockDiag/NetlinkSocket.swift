internal import CNetlink
internal import Glibc
package import Linux

/// Carries netlink messages to the kernel and back. The second implementation replays recorded answers.
package protocol NetlinkTransport: AnyObject {
    /// Sends one message, whole; the kernel has answered once this returns.
    ///
    /// - Throws: the errno of sendto(2).
    func send(_ message: [UInt8]) throws(SystemError)
    /// Takes one datagram and returns its length in `buffer`; never waits.
    ///
    /// - Throws: EAGAIN when there is none, ENOBUFS when the kernel dropped data, ENOSPC when the datagram did not
    ///   fit.
    func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int
}

/// A netlink socket of libmnl, in the network namespace of the thread that opened it. No call of it waits.
///
/// The kernel answers a question inside sendto(2), and puts each further datagram of a dump in the queue inside the
/// recvmsg(2) that took the one before it (netlink_dump, net/netlink/af_netlink.c). So what is not there when it is
/// asked for will not come, and nothing has to be waited for.
package final class NetlinkSocket: NetlinkTransport {
    private let socket: OpaquePointer

    /// Opens and binds. `groups` are multicast groups by number.
    package init(bus: Int32, groups: [UInt32] = []) throws(SystemError) {
        let flags = Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        guard let opened = mnl_socket_open2(bus, flags) else {
            throw .current("netlink socket")
        }
        socket = opened
        // Groups above 31 do not fit the bind mask; all of ours are below.
        let mask = groups.reduce(UInt32(0)) { $0 | 1 << ($1 - 1) }
        _ = try SystemError.check("netlink bind", mnl_socket_bind(socket, mask, MNL_SOCKET_AUTOPID))
    }

    deinit { mnl_socket_close(socket) }

    /// The descriptor, for epoll; valid while this object lives.
    package var descriptor: Int32 { mnl_socket_get_fd(socket) }

    package func send(_ message: [UInt8]) throws(SystemError) {
        while true {
            let sent = message.withUnsafeBytes { mnl_socket_sendto(socket, $0.baseAddress, $0.count) }
            if sent >= 0 { return }
            let error = SystemError.current("netlink send")
            if error.code != EINTR { throw error }
        }
    }

    package func receive(into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        while true {
            let received = mnl_socket_recvfrom(socket, buffer.baseAddress, buffer.count)
            if received >= 0 { return received }
            let error = SystemError.current("netlink receive")
            if error.code != EINTR { throw error }
        }
    }
}
