package import Linux
package import Ports
internal import SockDiag
internal import Synchronization

/// Says which addresses of this machine may reach the listener of a port, in the order in which to try them.
///
/// It knows what the watcher knows, and asks nobody: a dial costs no look-up, and the kernel's own connect(2) decides who
/// listens there now. Only for listeners bound to a device it asks for the device's addresses.
package final class DialTargets: Sendable {
    /// The loopback interface is the first of every network namespace (net/core/dev.c, LOOPBACK_IFINDEX).
    private static let loopback: UInt32 = 1
    /// So many of a port's listeners are tried at the most, and so many addresses of a device. A program can listen on
    /// thousands, and an event loop makes the list for each dial.
    private static let most = 32

    private let listeners: @Sendable (PortNumber) -> [ListeningSocket]
    private let interfaces = Mutex<InterfaceAddresses?>(nil)

    /// - Parameter listeners: who listens on a port, as far as is known now; must not wait.
    package init(listeners: @escaping @Sendable (PortNumber) -> [ListeningSocket]) {
        self.listeners = listeners
    }

    /// The addresses to try: what is known to be served first, then loopback, since the newest listener may not be known
    /// yet. Never one that leads out of this machine.
    package func addresses(for port: PortNumber) -> [SocketAddress] {
        var targets: [SocketAddress] = []
        func add(_ address: IPAddress, scope: UInt32 = 0) {
            let target = SocketAddress.tcp(address, port: port.rawValue, scope: scope)
            if !targets.contains(target) { targets.append(target) }
        }
        let known = listeners(port)
        if known.contains(where: Self.servesLoopbackV4) { add(.loopbackV4) }
        if known.contains(where: Self.servesLoopbackV6) { add(.loopbackV6) }
        for listener in known.prefix(Self.most) {
            let address = listener.address.mappedV4.map { IPAddress.v4($0) } ?? listener.address
            if address.isUnspecified {
                for own in deviceAddresses(of: listener).prefix(Self.most) {
                    add(own, scope: Self.scope(own, listener))
                }
            } else if LocalRoute.reaches(address, scope: Self.scope(address, listener)) {
                add(address, scope: Self.scope(address, listener))
            }
        }
        add(.loopbackV4)
        add(.loopbackV6)
        return targets
    }

    private static func scope(_ address: IPAddress, _ listener: ListeningSocket) -> UInt32 {
        address.isLinkLocal ? listener.interfaceIndex : 0
    }

    private static func isOnLoopback(_ listener: ListeningSocket) -> Bool {
        listener.interfaceIndex == 0 || listener.interfaceIndex == loopback
    }

    private static func servesLoopbackV4(_ listener: ListeningSocket) -> Bool {
        guard isOnLoopback(listener) else { return false }
        return switch listener.address {
        case .anyV4, .loopbackV4: true
        case .anyV6: !listener.ipv6Only
        default: listener.address.mappedV4 == 0 || listener.address.mappedV4 == 0x7f00_0001
        }
    }

    private static func servesLoopbackV6(_ listener: ListeningSocket) -> Bool {
        isOnLoopback(listener) && (listener.address == .anyV6 || listener.address == .loopbackV6)
    }

    /// The addresses of the device that a listener on all addresses is bound to: a connection to one of them counts as
    /// arriving on that device.
    private func deviceAddresses(of listener: ListeningSocket) -> [IPAddress] {
        guard !Self.isOnLoopback(listener) else { return [] }
        let (index, isV6) = (listener.interfaceIndex, listener.address.isV6)
        return interfaces.withLock { interfaces in
            do throws(SystemError) {
                let source = if let interfaces { interfaces } else { try InterfaceAddresses() }
                interfaces = source
                var found: [IPAddress] = []
                if !isV6 || !listener.ipv6Only {
                    found += try source.addresses(ofInterface: index, v6: false)
                }
                if isV6 { found += try source.addresses(ofInterface: index, v6: true) }
                return found
            } catch {
                interfaces = nil
                return []
            }
        }
    }
}
