package import Linux
package import PortForward
package import Ports

/// What becomes of the names of a machine.
package enum RouterNews: Hashable, Sendable {
    /// They lead here, by this port of the router, whichever process has it.
    case open(port: UInt16)
    /// The router's port can't be bound; it is tried again.
    case blocked(PortNumber, SystemError, holder: PortHolder?)
    /// Another process forwards a machine of this name, and has it.
    case nameTaken
    /// The router is here, and can't take in other processes with their machines; it is tried again.
    case closedToOthers(SystemError)
    /// There is no router, for a reason that may pass.
    case failed(SystemError)
}
