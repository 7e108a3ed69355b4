package import ForwardProtocol
package import GuestChannel
internal import Glibc
internal import ListenTable
package import Relay
internal import Sockets

/// A host port whose connections go to a port of the guest; several sockets where it is bound to several addresses.
package final class HostListener: BoundForward {
    private let listeners: [RelayListener]

    /// Binds all addresses of `forward` or none; an address of a family that the host lacks is left out as
    /// long as another remains.
    package init(
        _ forward: WantedForward.Key, agent: AgentAddress, token: MachineToken, engine: RelayEngine
    ) throws(BindFailure) {
        let role = RelayRole.host(
            agent: agent, preamble: ForwardPreamble(token: token, port: forward.guestPort))
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
                    listeners.forEach { $0.close() }
                    throw failure
                }
                missing = failure
            }
        }
        if listeners.isEmpty, let missing { throw missing }
        self.listeners = listeners
    }

    package func close() { listeners.forEach { $0.close() } }

    package var counters: RelayCounters {
        listeners.reduce(into: RelayCounters()) { $0.add($1.counters) }
    }
}

/// Binds host ports for one agent, on a relay engine that serves no other.
package struct RelayBinder: ForwardBinder {
    private let engine: RelayEngine
    private let agent: AgentAddress
    private let token: MachineToken

    /// - Parameter engine: moves the bytes; it is not shut down here.
    package init(engine: RelayEngine, agent: AgentAddress, token: MachineToken) {
        self.engine = engine
        self.agent = agent
        self.token = token
    }

    package func bind(_ forward: WantedForward.Key) throws(BindFailure) -> any BoundForward {
        try HostListener(forward, agent: agent, token: token, engine: engine)
    }

    package func resetConnections(acceptedBefore time: UInt64) {
        engine.resetConnections(acceptedBefore: time)
    }

    package func holders(of addresses: [HostAddress]) async -> [HostAddress: PortHolder] {
        await PortHolderScan().holders(of: addresses)
    }
}

extension SystemError {
    var isAddressInUse: Bool { code == EADDRINUSE }
    var isPermission: Bool { code == EACCES || code == EPERM }

    /// The host has no such address, or no such family at all: IPv6 is off.
    var isMissingFamily: Bool { code == EADDRNOTAVAIL || code == EAFNOSUPPORT }
}
