internal import Linux
package import PortForward
internal import Ports
package import Relay

/// A host port whose connections go to a port of the guest; several sockets where it is bound to several addresses.
package final class HostListener: BoundForward {
    private let listeners: [RelayListener]
    private let engine: RelayEngine
    private let hold: RelayHold?
    private let named: RelayTarget?
    private let closed: @Sendable () -> Void

    /// Binds all addresses of `forward` or none; an address of a family that the host lacks is left out as
    /// long as another remains.
    ///
    /// - Parameters:
    ///   - role: what is done with its clients.
    ///   - named: what those of the forward are relayed to who come by its name; they are counted too.
    ///   - wasOurs: this process has closed the port a short while ago.
    ///   - closed: called once nobody listens any more.
    package init(
        _ forward: WantedForward.Key, role: RelayRole, named: RelayTarget? = nil, engine: RelayEngine,
        wasOurs: Bool = false, closed: @escaping @Sendable () -> Void = {}
    ) throws(BindFailure) {
        let sockets = try Self.listeningSockets(forward, wasOurs: wasOurs)
        var listeners: [RelayListener] = []
        for (address, socket) in sockets {
            do throws(SystemError) {
                listeners.append(try engine.listen(on: try socket.take(), role: role))
            } catch {
                for listener in listeners { listener.close() }
                throw forward.failure(address, error)
            }
        }
        self.listeners = listeners
        self.engine = engine
        self.closed = closed
        self.named = named
        hold = role.hold
    }

    /// All of them are bound before the first one listens: while another address is taken, this one refuses clients as
    /// it did before.
    private static func listeningSockets(
        _ forward: WantedForward.Key, wasOurs: Bool
    ) throws(BindFailure) -> [(IPAddress, HostSocket)] {
        var sockets: [(IPAddress, HostSocket)] = []
        var missing: BindFailure?
        for address in forward.bind.addresses {
            do throws(SystemError) {
                sockets.append((address, try HostSocket(address, port: forward.hostPort, wasOurs: wasOurs)))
            } catch {
                let failure = forward.failure(address, error)
                guard forward.bind.addresses.count > 1, error.isMissingFamily else { throw failure }
                missing = failure
            }
        }
        if sockets.isEmpty, let missing { throw missing }
        for (address, socket) in sockets {
            do throws(SystemError) {
                try socket.listen()
            } catch {
                throw forward.failure(address, error)
            }
        }
        return sockets
    }

    package func close() {
        hold?.end()
        for listener in listeners { listener.close() }
        closed()
        retryHeld()
    }

    package func retryHeld() {
        if let hold { engine.retry(hold) }
    }

    package var counters: ForwardCounters {
        ForwardCounters(listeners.map(\.counters) + (named.map { [$0.counters] } ?? []))
    }
}

extension WantedForward.Key {
    fileprivate func failure(_ address: IPAddress, _ error: SystemError) -> BindFailure {
        BindFailure(address: HostAddress(address: address, port: hostPort), error: error)
    }
}
