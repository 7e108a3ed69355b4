import Control
import PortForward
import Ports

/// All that decides whether a port is forwarded, gathered at one moment.
struct PortFacts: Sendable {
    /// What is known of the guest.
    enum Agent: Sendable {
        case answers
        /// Why it has not answered yet, or no longer does.
        case missing(String)
        case lost(String)
    }

    /// A socket that listens on the port in the guest.
    struct Listener: Sendable {
        var socket: ListeningSocket
        /// Connections that wait to be accepted; nil where the guest can't tell.
        var waiting: UInt32?
        /// Whether the kernel takes no more of them.
        var isQueueFull = false
        /// The inode number of the network namespace; nil for the agent's own.
        var namespace: UInt64?
        /// What runs it, such as `docker container 3f2a9c`.
        var container: String?
    }

    var port: PortNumber
    /// The name by which commands have to be told whose forwards they are about; nil where a rum.toml tells.
    var forwardName: String?
    var policy: ForwardPolicy
    /// Those whose host port or guest port it is, static ones first.
    var forwards: [OwnerReport.Forward]
    var agent: Agent
    /// What bind(2) said of those that are blocked.
    var failures: [BindFailure] = []
    var holdBack: HoldBack?
    /// The rule that decides about it as a guest port.
    var rule: PortRule?
    /// nil when the guest did not tell.
    var listeners: [Listener]?
    /// Whether the guest looked into other network namespaces.
    var sawOtherNamespaces = false
}

extension ListeningSocket {
    /// The program that listens, as sentences name it.
    var program: String { process.map { "\($0.name) (pid \($0.pid))" } ?? "a program" }
}
