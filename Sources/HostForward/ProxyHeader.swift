internal import Linux

/// The header of the PROXY protocol, version 2, with which a server learns whose connection it is
/// (https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt, 2.2).
///
/// ```
/// signature (12)  version and command (1)  family and protocol (1)  length (2)  addresses: source, destination  ports
/// ```
/// Numbers are big-endian.
struct ProxyHeader {
    private static let signature: [UInt8] = [
        0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a,
    ]
    /// Version 2, command PROXY.
    private static let proxy: UInt8 = 0x21

    private enum Family: UInt8 {
        /// The server is to take its own peer's address.
        case unspecified = 0x00
        case tcp4 = 0x11
        case tcp6 = 0x21
    }

    let bytes: [UInt8]

    /// The header for a connection between two TCP addresses; for others, one that tells none.
    init(source: SocketAddress?, destination: SocketAddress?) {
        guard case .tcp(let from, let fromPort, _)? = source, case .tcp(let to, let toPort, _)? = destination,
            from.isV6 == to.isV6
        else {
            bytes = Self.signature + [Self.proxy, Family.unspecified.rawValue, 0, 0]
            return
        }
        let body = from.networkBytes + to.networkBytes + Self.number(fromPort) + Self.number(toPort)
        let family = from.isV6 ? Family.tcp6 : .tcp4
        bytes = Self.signature + [Self.proxy, family.rawValue] + Self.number(UInt16(body.count)) + body
    }

    /// The header for an accepted client. One that is gone by now has no address any more.
    init(ofClient fd: Int32) {
        self.init(
            source: try? StreamSocket.peerAddress(fd), destination: try? StreamSocket.localAddress(fd))
    }

    private static func number(_ value: UInt16) -> [UInt8] { [UInt8(value >> 8), UInt8(value & 0xff)] }
}
