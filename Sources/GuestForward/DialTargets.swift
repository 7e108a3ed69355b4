package import Linux
package import Ports
internal import ProcNet
internal import SockDiag
internal import Synchronization

/// Finds out which address of this machine reaches the listener of a port, anew for each dial: the answer of a
/// moment ago may be another program's today.
package final class DialTargets: Sendable {
    private enum Knowledge {
        case netlink(SockDiagSnapshotter, InterfaceAddresses)
        case procfs(ProcNetReader)
    }

    /// The loopback interface is the first of every network namespace (net/core/dev.c, LOOPBACK_IFINDEX).
    private static let loopback: UInt32 = 1

    private let knowledge: Mutex<Knowledge>

    /// Asks the network namespace of the calling thread, by the means that the watcher uses.
    ///
    /// - Throws: when a netlink socket is refused.
    package init(mode: ListenMode, procRoot: String = "/proc") throws(DialTargetError) {
        switch mode {
        case .procfs:
            knowledge = Mutex(.procfs(ProcNetReader(root: procRoot)))
        case .netlink:
            do {
                knowledge = Mutex(.netlink(try SockDiagSnapshotter(), try InterfaceAddresses()))
            } catch {
                throw DialTargetError(description: "\(error)")
            }
        }
    }

    /// The addresses to try, in this order; empty when nobody listens on the port.
    ///
    /// With netlink each is the kernel's own answer, so the first one normally connects. procfs shows neither
    /// interfaces nor IPV6_V6ONLY: loopback is tried in IPv4, then in IPv6, then what was listed. Blocks for
    /// microseconds (netlink) or as long as `/proc/net/tcp` takes to read.
    package func resolve(_ port: PortNumber) throws(DialTargetError) -> [SocketAddress] {
        try knowledge.withLock { knowledge throws(DialTargetError) in
            do {
                switch knowledge {
                case .netlink(let sockets, let interfaces):
                    return try Self.resolve(port, sockets, interfaces)
                case .procfs(let reader):
                    let only = PortRange(port, port) ?? .all
                    return Self.candidates(try reader.listeners(in: only).map(\.socket))
                }
            } catch {
                throw DialTargetError(description: "\(error)")
            }
        }
    }

    private static func resolve(
        _ port: PortNumber, _ sockets: SockDiagSnapshotter, _ interfaces: InterfaceAddresses
    ) throws -> [SocketAddress] {
        var targets: [SocketAddress] = []
        for address in [IPAddress.loopbackV4, .loopbackV6]
        where try sockets.owner(of: address, port: port, interfaceIndex: loopback) != nil {
            targets.append(.tcp(address, port: port.rawValue))
        }
        guard targets.isEmpty, let only = PortRange(port, port) else { return targets }
        for listener in try sockets.listeners(in: only).map(\.socket) {
            for (address, index) in try reach(listener, interfaces)
            where try sockets.owner(of: address, port: port, interfaceIndex: index) != nil {
                let scope = address.isLinkLocal ? index : 0
                let target = SocketAddress.tcp(address, port: port.rawValue, scope: scope)
                if !targets.contains(target) { targets.append(target) }
            }
        }
        return targets
    }

    /// Where a listener that loopback does not reach can be, with the interface on which a dial would arrive.
    private static func reach(
        _ listener: ListeningSocket, _ interfaces: InterfaceAddresses
    ) throws(SystemError) -> [(IPAddress, UInt32)] {
        let index = listener.interfaceIndex
        guard listener.address.isUnspecified else { return [(dialled(listener.address), index)] }
        guard index != 0 else { return [] }
        // Bound to a device: a connection to the device's own address counts as arriving on it.
        var addresses = try interfaces.addresses(ofInterface: index, v6: false)
        if listener.address.isV6 {
            let own = try interfaces.addresses(ofInterface: index, v6: true)
            addresses = listener.ipv6Only ? own : addresses + own
        }
        return addresses.map { ($0, index) }
    }

    /// `::ffff:a.b.c.d` listens to IPv4 connections, so it is dialled as such.
    private static func dialled(_ address: IPAddress) -> IPAddress {
        address.mappedV4.map { .v4($0) } ?? address
    }

    private static func candidates(_ listeners: [ListeningSocket]) -> [SocketAddress] {
        var targets: [SocketAddress] = []
        func add(_ address: IPAddress, _ listener: ListeningSocket) {
            let target = SocketAddress.tcp(address, port: listener.port.rawValue)
            if !targets.contains(target) { targets.append(target) }
        }
        for listener in listeners
        where listener.address.isUnspecified || dialled(listener.address) == .loopbackV4 {
            add(.loopbackV4, listener)
        }
        for listener in listeners where [.anyV6, .loopbackV6].contains(listener.address) {
            add(.loopbackV6, listener)
        }
        for listener in listeners where !listener.address.isUnspecified {
            add(dialled(listener.address), listener)
        }
        return targets
    }
}

/// Why nobody could tell where a port is to be dialled.
package struct DialTargetError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
}
