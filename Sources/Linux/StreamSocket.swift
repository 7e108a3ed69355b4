internal import CLinux
internal import Glibc

/// Opens stream sockets; every descriptor it makes is close-on-exec and non-blocking.
package enum StreamSocket {
    /// How long a connect over vsock may take.
    private static let vsockConnectSeconds = 3

    /// Opens a socket of the address's family.
    package static func open(for address: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        return OwnedDescriptor(owning: try SystemError.check("socket", socket(address.family, kind, 0)))
    }

    /// A bound and listening socket, announced only once listen(2) has returned.
    ///
    /// SO_REUSEADDR is set for TCP, so TIME_WAIT does not block a port; SO_REUSEPORT never is, so a port
    /// that somebody holds is EADDRINUSE. An IPv6 socket takes IPv6 only. To a unix socket only its owner may connect.
    package static func listen(
        on address: SocketAddress, backlog: Int32 = 4096
    ) throws(SystemError) -> OwnedDescriptor {
        let descriptor = try open(for: address)
        let fd = descriptor.rawValue
        if case .tcp(let ip, _, _) = address {
            try reuseAddress(fd)
            if ip.isV6 { try onlyV6(fd) }
        }
        if case .vsock = address { VsockBuffers.enlarge(fd) }
        // The file that bind(2) makes gets the socket's mode, so there is no moment in which others may connect
        // (unix_bind, net/unix/af_unix.c).
        if case .unix = address { _ = try SystemError.check("fchmod", fchmod(fd, 0o600)) }
        try address.bind(fd)
        _ = try SystemError.check("listen", Glibc.listen(fd, backlog))
        return descriptor
    }

    /// Sets SO_REUSEADDR (socket(7)).
    package static func reuseAddress(_ fd: Int32) throws(SystemError) {
        try setOption(fd, SOL_SOCKET, SO_REUSEADDR, Int32(1), "SO_REUSEADDR")
    }

    /// Sets IPV6_V6ONLY (ipv6(7)).
    package static func onlyV6(_ fd: Int32) throws(SystemError) {
        try setOption(fd, Int32(IPPROTO_IPV6), IPV6_V6ONLY, Int32(1), "IPV6_V6ONLY")
    }

    /// Has close(2) reset a TCP connection, so that a program that is killed resets its connections instead of ending them
    /// as if all had been said; whoever ends one in order takes it back first. Urgent data stays in its place in the
    /// stream, which a relay has no other for.
    ///
    /// Accepted sockets inherit both from their listener as it is when the handshake completes: set it before listen(2).
    package static func resetUnlessEnded(_ fd: Int32) {
        _ = clinux_reset_on_close(fd, 1)
        try? setOption(fd, SOL_SOCKET, SO_OOBINLINE, Int32(1), "SO_OOBINLINE")
    }

    /// Has the kernel find out by itself that the peer of an idle TCP connection is gone, within a minute (tcp(7)). Other
    /// sockets hear of it.
    package static func keepAlive(_ fd: Int32) {
        try? setOption(fd, SOL_SOCKET, SO_KEEPALIVE, Int32(1), "SO_KEEPALIVE")
        for (name, seconds) in [(TCP_KEEPIDLE, 30), (TCP_KEEPINTVL, 10), (TCP_KEEPCNT, 3)] as [(Int32, Int32)]
        {
            try? setOption(fd, Int32(IPPROTO_TCP), name, seconds, "TCP keep-alive")
        }
    }

    /// Opens a socket of the address's family, with all that is to be set before connect(2).
    package static func prepare(for address: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        let descriptor = try open(for: address)
        let fd = descriptor.rawValue
        if case .tcp = address { try setOption(fd, Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1), "TCP_NODELAY") }
        if case .vsock = address {
            VsockBuffers.enlarge(fd)
            // A guest whose driver is not up never answers. The kernel's own limit is 2 s (net/vmw_vsock/af_vsock.c).
            let limit = timeval(tv_sec: vsockConnectSeconds, tv_usec: 0)
            try? setOption(
                fd, AF_VSOCK, Int32(SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD), limit, "vsock connect timeout")
        }
        return descriptor
    }

    /// Starts to connect. The socket is writable when the attempt has ended; `pendingError` then tells how.
    ///
    /// - Throws: an error that the kernel gave at once (ECONNREFUSED for unix, ENODEV for vsock).
    package static func connect(to address: SocketAddress) throws(SystemError) -> OwnedDescriptor {
        let descriptor = try prepare(for: address)
        try beginConnecting(descriptor.rawValue, to: address)
        return descriptor
    }

    /// As `connect`, with a socket that `prepare` has made.
    package static func beginConnecting(_ fd: Int32, to address: SocketAddress) throws(SystemError) {
        do throws(SystemError) {
            try address.connect(fd)
        } catch {
            // An interrupted connect goes on in the background, like EINPROGRESS (connect(2)).
            guard error.code == EINPROGRESS || error.code == EINTR else { throw error }
        }
    }

    /// Takes and clears SO_ERROR: nil when the socket has none.
    package static func pendingError(_ fd: Int32, _ operation: String = "connect") -> SystemError? {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) == 0 else { return .current(operation) }
        return code == 0 ? nil : SystemError(code: code, operation: operation)
    }

    /// Whether a connect to a loopback port that nobody listens on has met itself: the kernel chose the very port as the
    /// socket's own, and a TCP socket may connect to itself (RFC 9293, 3.5, simultaneous open).
    package static func isConnectedToItself(_ fd: Int32, at address: SocketAddress) -> Bool {
        guard case .tcp(let ip, let port, _) = address, port >= firstEphemeralPort,
            case .tcp(ip, port, _)? = try? localAddress(fd)
        else { return false }
        return true
    }

    /// The lowest port that the kernel chooses for a socket that names none (net.ipv4.ip_local_port_range), read once.
    package static let firstEphemeralPort: UInt16 = {
        let range = try? SmallFile.text(of: "/proc/sys/net/ipv4/ip_local_port_range")
        return range.flatMap { UInt16($0.prefix { $0.isNumber }) } ?? 1024
    }()

    /// The address this socket is bound to.
    package static func localAddress(_ fd: Int32) throws(SystemError) -> SocketAddress {
        try address(fd, "getsockname", getsockname)
    }

    /// The address of the other end.
    package static func peerAddress(_ fd: Int32) throws(SystemError) -> SocketAddress {
        try address(fd, "getpeername", getpeername)
    }

    /// Takes a connection out of a listener's queue (accept4(2)): a non-blocking socket, or -1 and errno. `peer` is the address of
    /// its other end, also of one that has been reset by now; nil when it is of a family that rum does not speak.
    package static func accept(_ listener: Int32, peer: inout SocketAddress?) -> Int32 {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let socket = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { clinux_accept(listener, $0, &size) }
        }
        if socket >= 0 { peer = SocketAddress(storage) }
        return socket
    }

    /// How long a receive on a blocking socket may wait before it fails with EAGAIN (SO_RCVTIMEO, socket(7)); nil for without
    /// end.
    package static func limitReads(_ fd: Int32, to time: Duration?) throws(SystemError) {
        // 0 is none.
        let microseconds = time.map { max(1, Int($0.wholeNanoseconds / 1000)) } ?? 0
        let limit = timeval(tv_sec: microseconds / 1_000_000, tv_usec: microseconds % 1_000_000)
        try setOption(fd, SOL_SOCKET, SO_RCVTIMEO, limit, "SO_RCVTIMEO")
    }

    /// The bytes that can be received at once.
    package static func readableBytes(_ fd: Int32) -> Int { max(0, Int(clinux_readable_bytes(fd))) }

    /// setsockopt(2) with a value of the type that the option has in C.
    ///
    /// - Parameter operation: what an error names, such as `SO_RCVTIMEO`.
    package static func setOption<Value: BitwiseCopyable>(
        _ fd: Int32, _ level: Int32, _ name: Int32, _ value: Value, _ operation: String
    ) throws(SystemError) {
        var value = value
        let size = socklen_t(MemoryLayout<Value>.size)
        _ = try SystemError.check(operation, setsockopt(fd, level, name, &value, size))
    }

    private static func address(
        _ fd: Int32, _ operation: String,
        _ call: (Int32, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> Int32
    ) throws(SystemError) -> SocketAddress {
        var storage = sockaddr_storage()
        var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let result = withUnsafeMutablePointer(to: &storage) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { call(fd, $0, &size) }
        }
        _ = try SystemError.check(operation, result)
        guard let address = SocketAddress(storage) else {
            throw SystemError(code: EAFNOSUPPORT, operation: operation)
        }
        return address
    }
}
