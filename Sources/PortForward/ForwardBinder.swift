package import Linux
package import Ports

/// Opens host ports for forwards.
package protocol ForwardBinder: Sendable {
    /// Binds and listens; once it returns, clients can connect. Must not wait.
    ///
    /// - Parameter port: of the host; not the forward's own where that is taken and another one will do.
    func bind(_ forward: WantedForward.Key, on port: PortNumber) throws(BindFailure) -> any BoundForward

    /// These forwards there should be from now on, whether they could be opened or not. Must not wait.
    func note(wanted forwards: [WantedForward])

    /// What has gone through a forward whose host port is not open, by its name.
    func counters(of forward: WantedForward.Key) -> ForwardCounters

    /// Aborts the connections that were accepted before a CLOCK_MONOTONIC time in nanoseconds, also those of
    /// forwards that are closed by now.
    func resetConnections(acceptedBefore time: UInt64)

    /// Aborts the connections that the guest no longer knows, and no others; also those of forwards that are closed by now.
    func findLostConnections()

    /// Who holds the addresses that could not be bound. May take long; called outside of everything else.
    func holders(of addresses: [HostAddress]) async -> [HostAddress: PortHolder]
}

extension ForwardBinder {
    /// As `bind`, on the forward's own port.
    package func bind(_ forward: WantedForward.Key) throws(BindFailure) -> any BoundForward {
        try bind(forward, on: forward.hostPort)
    }

    package func note(wanted forwards: [WantedForward]) {}

    package func counters(of forward: WantedForward.Key) -> ForwardCounters { ForwardCounters() }
}

/// An open host port; it is closed by `close` alone.
package protocol BoundForward: Sendable {
    /// Stops listening before it returns; live connections go on, and clients that wait for their server are reset.
    func close()
    /// Tries again for clients that wait for their server: it may be back. Must not wait.
    func retryHeld()
    /// With what has come by its name.
    var counters: ForwardCounters { get }
}

/// An address and a port of this host.
package struct HostAddress: Hashable, Sendable, CustomStringConvertible {
    package var address: IPAddress
    package var port: PortNumber

    package init(address: IPAddress, port: PortNumber) {
        self.address = address
        self.port = port
    }

    package var description: String { BindAddress(address).with(port) }
}

/// Why a host port could not be opened.
package struct BindFailure: Error, Hashable, Sendable, CustomStringConvertible {
    /// The one of the wanted addresses that was refused.
    package var address: HostAddress
    package var error: SystemError

    package init(address: HostAddress, error: SystemError) {
        self.address = address
        self.error = error
    }

    /// Somebody else holds the port; it can be expected to come free.
    package var isBusy: Bool { error.isAddressInUse }

    /// The port is a privileged one, and this process may not bind it.
    package var lacksPrivilege: Bool { error.isPermission && address.port.isPrivileged }

    package var description: String { "\(address): \(error)" }
}

/// A process of this host that holds a port.
package struct PortHolder: Hashable, Sendable, CustomStringConvertible {
    package var name: String
    package var pid: Int32

    package init(name: String, pid: Int32) {
        self.name = name
        self.pid = pid
    }

    package var description: String { "\(name) (pid \(pid))" }
}
