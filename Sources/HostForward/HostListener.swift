internal import Linux
package import PortForward
internal import Ports
package import Relay

/// A host port whose connections go to a port of the guest; several sockets where it is bound to several addresses.
package final class HostListener: BoundForward {
    private let listeners: [RelayListener]

    /// Binds all addresses of `forward` or none; an address of a family that the host lacks is left out as
    /// long as another remains.
    package init(
        _ forward: WantedForward.Key, to agent: ForwardTarget, engine: RelayEngine
    ) throws(BindFailure) {
        let role = RelayRole(tunnel: .dialled) { agent.handshake(for: forward.guestPort) }
        var listeners: [RelayListener] = []
        var missing: BindFailure?
        for address in forward.bind.addresses {
            do throws(SystemError) {
                let socket = try StreamSocket.listen(on: .tcp(address, port: forward.hostPort.rawValue))
                listeners.append(try engine.listen(on: socket, role: role))
            } catch {
                let failure = BindFailure(
                    address: HostAddress(address: address, port: forward.hostPort), error: error)
                guard forward.bind.addresses.count > 1, error.isMissingFamily else {
                    for listener in listeners { listener.close() }
                    throw failure
                }
                missing = failure
            }
        }
        if listeners.isEmpty, let missing { throw missing }
        self.listeners = listeners
    }

    package func close() {
        for listener in listeners { listener.close() }
    }

    package var counters: ForwardCounters {
        listeners.reduce(into: ForwardCounters()) { sum, listener in
            let counters = listener.counters
            sum.accepted += counters.accepted
            sum.active += counters.active
            sum.failed += counters.failed
            sum.bytesToGuest += counters.bytesForth
            sum.bytesFromGuest += counters.bytesBack
        }
    }
}
