internal import Glibc
package import Linux
package import Ports

/// A TCP socket of a test, in the network namespace of the thread that opened it.
package final class TestListener: Sendable {
    /// What to set before bind(2).
    package struct Options: Sendable {
        package var v6Only = false
        package var reusePort = false
        package var device: String?
        package var backlog: Int32 = 16
        /// IPPROTO_TCP, or 262 for MPTCP.
        package var proto: Int32 = 0
        /// false leaves the socket bound only.
        package var listens = true
        /// false calls listen(2) on an unbound socket, so the kernel chooses the port.
        package var binds = true
        package var scope: UInt32 = 0

        package init() {}
    }

    package let descriptor: OwnedDescriptor
    package let address: IPAddress
    package let port: PortNumber
    package let options: Options

    /// Opens, binds and listens; port 0 asks the kernel to choose.
    package init(_ address: IPAddress, port: UInt16 = 0, options: Options = Options()) throws(SystemError) {
        let wanted = SocketAddress.tcp(address, port: port, scope: options.scope)
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        descriptor = OwnedDescriptor(
            owning: try SystemError.check("socket", socket(wanted.family, kind, options.proto)))
        let fd = descriptor.rawValue
        try StreamSocket.setOption(fd, SOL_SOCKET, SO_REUSEADDR, Int32(1), "SO_REUSEADDR")
        if address.isV6 {
            try StreamSocket.setOption(
                fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, Int32(options.v6Only ? 1 : 0), "IPV6_V6ONLY")
        }
        if options.reusePort {
            try StreamSocket.setOption(fd, SOL_SOCKET, SO_REUSEPORT, Int32(1), "SO_REUSEPORT")
        }
        if let device = options.device {
            let name = Array(device.utf8CString)
            _ = try SystemError.check(
                "SO_BINDTODEVICE", setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, socklen_t(name.count)))
        }
        if options.binds { try wanted.bind(fd) }
        if options.listens { _ = try SystemError.check("listen", Glibc.listen(fd, options.backlog)) }
        guard case .tcp(_, let actual, _) = try StreamSocket.localAddress(fd), let number = PortNumber(actual)
        else { throw SystemError(code: EINVAL, operation: "getsockname") }
        (self.address, self.port, self.options) = (address, number, options)
    }

    /// A port of the kernel's choosing that nobody listens on, and that nobody is given while this lives: of a port that was only
    /// let go of, one in some ten thousand binds that name none gets it again.
    package static func silent() throws(SystemError) -> TestListener {
        var options = Options()
        options.listens = false
        return try TestListener(.loopbackV4, options: options)
    }

    package var socketAddress: SocketAddress {
        .tcp(address, port: port.rawValue, scope: options.scope)
    }

    /// Calls listen(2), perhaps again.
    package func listen() throws(SystemError) {
        _ = try SystemError.check("listen", Glibc.listen(descriptor.rawValue, options.backlog))
    }

    /// Whether a connection is waiting to be accepted, within `milliseconds`.
    package func isReadable(within milliseconds: Int32) -> Bool {
        var poller = pollfd(fd: descriptor.rawValue, events: Int16(POLLIN), revents: 0)
        return poll(&poller, 1, milliseconds) == 1
    }

    /// Takes one waiting connection and closes it.
    package func acceptAndClose() {
        let accepted = accept(descriptor.rawValue, nil, nil)
        if accepted >= 0 { close(accepted) }
    }

    /// The socket as sock_diag shows it.
    package var key: ListeningSocket.Key { ListeningSocket.Key(port: port, address: address) }
}
