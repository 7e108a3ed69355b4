internal import Linux
package import Ports

/// What a guest knows about one TCP port: the answer to `ExplainPort`.
package struct PortExplanation: Hashable, Sendable {
    /// A socket that listens on the port.
    package struct Listener: Hashable, Sendable {
        package var socket: ListeningSocket
        /// nil where the guest can't tell, as in another network namespace.
        package var queue: AcceptQueue?
        /// The inode number of its network namespace; nil for the agent's own, the only one whose sockets the agent
        /// can connect to.
        package var networkNamespace: UInt64?
        /// The container it belongs to, where its control group tells.
        package var container: Container?

        package init(
            socket: ListeningSocket, queue: AcceptQueue? = nil, networkNamespace: UInt64? = nil,
            container: Container? = nil
        ) {
            self.socket = socket
            self.queue = queue
            self.networkNamespace = networkNamespace
            self.container = container
        }
    }

    /// The connections that wait to be accepted by one listener.
    package struct AcceptQueue: Hashable, Sendable {
        package var waiting: UInt32
        package var limit: UInt32

        package init(waiting: UInt32, limit: UInt32) {
            self.waiting = waiting
            self.limit = limit
        }

        /// Whether the kernel takes no more connections, because the program does not accept those that wait
        /// (sk_acceptq_is_full, include/net/sock.h).
        package var isFull: Bool { waiting > limit }
    }

    /// A container of the guest.
    package struct Container: Hashable, Sendable {
        /// `docker`, `podman`, `containerd`, `cri-o`, `lxc` or `systemd-nspawn`; a newer agent may know more.
        package var runtime: String
        /// Its id or name.
        package var name: String

        package init(runtime: String, name: String) {
            self.runtime = runtime
            self.name = name
        }
    }

    /// Those in the agent's own network namespace first.
    package var listeners: [Listener]
    /// Why some may be missing; nil when everything was looked at.
    package var incomplete: String?

    package init(listeners: [Listener], incomplete: String? = nil) {
        self.listeners = listeners
        self.incomplete = incomplete
    }
}

extension PortExplanation {
    /// Reads a message. Listeners with an impossible port or address are left out.
    package init(_ message: Rum_V1_ExplainPortResponse) {
        self.init(
            listeners: message.listeners.compactMap(Listener.init),
            incomplete: message.incomplete.isEmpty ? nil : message.incomplete.cut(to: AgentLimits.longestText)
        )
    }

    package var message: Rum_V1_ExplainPortResponse {
        var message = Rum_V1_ExplainPortResponse()
        message.listeners = listeners.map(\.message)
        message.incomplete = incomplete ?? ""
        return message
    }
}

extension PortExplanation.Listener {
    package init?(_ message: Rum_V1_PortListener) {
        guard var socket = ListeningSocket(message.listener) else { return nil }
        if let name = socket.process?.name { socket.process?.name = name.cut(to: AgentLimits.longestName) }
        let knowsQueue = message.waiting != 0 || message.queueLimit != 0
        self.init(
            socket: socket,
            queue: knowsQueue ? .init(waiting: message.waiting, limit: message.queueLimit) : nil,
            networkNamespace: message.networkNamespace == 0 ? nil : message.networkNamespace,
            container: message.containerRuntime.isEmpty
                ? nil
                : .init(
                    runtime: message.containerRuntime.cut(to: AgentLimits.longestName),
                    name: message.container.cut(to: AgentLimits.longestText)))
    }

    package var message: Rum_V1_PortListener {
        var message = Rum_V1_PortListener()
        message.listener = socket.message
        message.waiting = queue?.waiting ?? 0
        message.queueLimit = queue?.limit ?? 0
        message.networkNamespace = networkNamespace ?? 0
        message.containerRuntime = container?.runtime ?? ""
        message.container = container?.name ?? ""
        return message
    }
}
