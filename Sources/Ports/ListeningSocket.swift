package import Linux

/// One TCP socket in state LISTEN, as the guest's kernel shows it.
package struct ListeningSocket: Hashable, Sendable {
    package var address: IPAddress
    package var port: PortNumber
    /// IPV6_V6ONLY. Always false for IPv4, and where the source can't know (procfs).
    package var ipv6Only: Bool
    /// The interface the socket is bound to, 0 for any and where the source can't know (procfs).
    package var interfaceIndex: UInt32
    /// The process that called listen(2), once confirmed.
    package var process: ListeningProcess?
    /// When listen(2) was seen: nanoseconds of the guest's CLOCK_MONOTONIC; nil when nobody saw it.
    package var listenedAt: UInt64?

    package init(
        address: IPAddress, port: PortNumber, ipv6Only: Bool = false, interfaceIndex: UInt32 = 0,
        process: ListeningProcess? = nil, listenedAt: UInt64? = nil
    ) {
        self.address = address
        self.port = port
        self.ipv6Only = ipv6Only
        self.interfaceIndex = interfaceIndex
        self.process = process
        self.listenedAt = listenedAt
    }

    /// What tells two listeners apart. Inodes do not: SO_REUSEPORT sockets share all of this and are one.
    package struct Key: Hashable, Comparable, Sendable {
        package var port: PortNumber
        package var address: IPAddress
        package var interfaceIndex: UInt32

        package init(port: PortNumber, address: IPAddress, interfaceIndex: UInt32 = 0) {
            self.port = port
            self.address = address
            self.interfaceIndex = interfaceIndex
        }

        package static func < (left: Key, right: Key) -> Bool {
            (left.port, left.address, left.interfaceIndex) < (right.port, right.address, right.interfaceIndex)
        }
    }

    package var key: Key { Key(port: port, address: address, interfaceIndex: interfaceIndex) }
}
