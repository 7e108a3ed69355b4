internal import Glibc

/// Tells whether packets to an address stay on this machine.
package enum LocalRoute {
    /// Whether the address is one of this machine's own, in the network namespace of the calling thread: then it is its own
    /// source address as well. False for a socket that listens on a foreign one (net.ipv4.ip_nonlocal_bind).
    ///
    /// Connecting a UDP socket looks up the route and sends nothing (udp(7)).
    package static func reaches(_ address: IPAddress, scope: UInt32 = 0) -> Bool {
        if address.isLoopback { return true }
        let target = SocketAddress.tcp(address, port: 9, scope: scope)
        let kind = Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        let number = socket(target.family, kind, 0)
        guard number >= 0 else { return false }
        let probe = OwnedDescriptor(owning: number)
        guard (try? target.connect(probe.rawValue)) != nil,
            case .tcp(address, _, _)? = try? StreamSocket.localAddress(probe.rawValue)
        else { return false }
        return true
    }
}
