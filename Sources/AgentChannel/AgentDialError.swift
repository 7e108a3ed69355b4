internal import Glibc
package import Linux

/// Why a port of an agent could not be reached, with what to do about it.
package struct AgentDialError: Error, Hashable, CustomStringConvertible {
    package enum Reason: Error, Hashable, Sendable {
        /// No running guest has this CID, or the host's vsock has no driver (ENODEV).
        case noSuchGuest
        /// The guest answered that nothing listens there (ECONNREFUSED; ECONNRESET on vsock).
        case nobodyListens
        /// The socket file does not exist.
        case noSocket
        /// Nothing in the guest answers: its vsock driver is not up yet (ETIMEDOUT), or the time limit is over.
        case timedOut
        /// The hybrid socket said something else than `OK`.
        case greetingRefused(String)
        /// The hybrid socket closed before its answer was complete.
        case greetingCut
        /// The agent answered a preamble with another status than `connected`; nil is one that this version does not know.
        case refused(ForwardStatus?)
        case cancelled
        case system(SystemError)

        package init(_ error: SystemError) {
            self =
                switch error.code {
                case ENODEV: .noSuchGuest
                case ECONNREFUSED, ECONNRESET: .nobodyListens
                case ENOENT: .noSocket
                case ETIMEDOUT: .timedOut
                default: .system(error)
                }
        }
    }

    package let address: AgentAddress
    package let port: AgentPort
    package let reason: Reason

    /// What happened, in one sentence without its full stop.
    package var description: String { "port \(port.rawValue) of \(address) can't be reached: \(what)" }

    /// What to do next.
    package var hint: String {
        switch (reason, address) {
        case (.noSuchGuest, .vsock):
            "check that the guest runs and has this CID, and that vhost_vsock is loaded"
        case (.noSocket, _): "check that the path is right and that the machine or agent behind it runs"
        case (.nobodyListens, _): "check in the guest that rum-agent runs and listens there"
        case (.timedOut, _): "the guest may still be starting; try again, or look at its console"
        case (.greetingRefused, _), (.greetingCut, _):
            "check that rum-agent runs in the guest with --listen vsock"
        case (.system(let error), .vsock) where error.code == EAFNOSUPPORT:
            "load the kernel module vsock on this host, or use another channel"
        case (.system(let error), _) where error.code == EACCES || error.code == EPERM:
            "run rum as the user who owns the socket"
        default: "try again"
        }
    }

    private var what: String {
        switch reason {
        case .noSuchGuest: "no guest has this address"
        case .nobodyListens: "nobody listens there"
        case .noSocket: "the socket does not exist"
        case .timedOut: "no answer in time"
        case .greetingRefused(let text): "the socket answered \"\(text)\" to CONNECT"
        case .greetingCut: "the socket closed before it answered"
        case .refused(.badToken): "the agent refused the token"
        case .refused: "the agent refused what was asked for"
        case .cancelled: "cancelled"
        case .system(let error): "\(error)"
        }
    }
}
