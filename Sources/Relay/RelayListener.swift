internal import AgentChannel
internal import CLinux
internal import Glibc
package import Linux
internal import Ports
internal import Synchronization

/// A listening socket that a relay engine accepts from; it listens until `close` or the engine's end.
package final class RelayListener: Sendable {
    /// The bound address; a port that was given as 0 is the kernel's choice here.
    package let address: SocketAddress
    let role: RelayRole
    /// What goes over a new tunnel first; empty in the guest.
    let preambleBytes: [UInt8]
    let tally = RelayTally()
    private let inbox: LoopInbox
    private let socket: Mutex<Socket>

    private struct Socket: ~Copyable {
        var descriptor: OwnedDescriptor?
        var token: EventToken?
    }

    enum Accepted: ~Copyable {
        case connection(OwnedDescriptor)
        /// Nobody waits, or the listener is closed.
        case none
        /// No descriptors or memory left.
        case exhausted(SystemError)
    }

    init(_ descriptor: consuming OwnedDescriptor, role: RelayRole, inbox: LoopInbox) throws(SystemError) {
        let fd = descriptor.rawValue
        address = try StreamSocket.localAddress(fd)
        self.role = role
        self.inbox = inbox
        preambleBytes =
            switch role {
            case .host(_, let preamble): preamble.bytes
            case .guest: []
            }
        if case .tcp = address {
            // Accepted sockets inherit it: one call here instead of one a connection.
            try StreamSocket.setOption(fd, Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1), "TCP_NODELAY")
        }
        socket = Mutex(Socket(descriptor: consume descriptor))
    }

    /// What went through it so far; stays readable after `close`.
    package var counters: RelayCounters { tally.counters }

    /// Stops listening: new connects are refused once this returns. Live connections go on.
    package func close() {
        let token = socket.withLock { socket in
            socket.descriptor = nil
            return socket.token.take()
        }
        if let token { inbox.remove(token) }
    }

    /// Lets the loop know of it; from then on it accepts.
    func start() throws(SystemError) {
        let token = try inbox.add(self)
        socket.withLock { $0.token = token }
        do throws(SystemError) {
            try resume()
        } catch {
            close()
            throw error
        }
    }

    func resume() throws(SystemError) {
        let failure: SystemError? = socket.withLock { socket in
            guard let fd = socket.descriptor?.rawValue, let token = socket.token else { return nil }
            do throws(SystemError) {
                // Level-triggered: what one turn leaves in the backlog is reported again.
                try inbox.watch(fd, EPOLLIN.rawValue, token)
                return nil
            } catch {
                return error
            }
        }
        if let failure { throw failure }
    }

    func pause() {
        socket.withLock { socket in
            if let fd = socket.descriptor?.rawValue { inbox.ignore(fd) }
        }
    }

    /// Takes one connection out of the backlog.
    func accept() -> Accepted {
        socket.withLock { socket in
            while let fd = socket.descriptor?.rawValue {
                let result = clinux_accept(fd, nil, nil)
                if result >= 0 { return .connection(OwnedDescriptor(owning: result)) }
                let error = SystemError.current("accept4")
                switch error.code {
                // A client that has gone again, or a network error meant for it (accept(2), ERRORS).
                case EINTR, ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
                    EOPNOTSUPP, ENETUNREACH, EPERM:
                    continue
                case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .exhausted(error)
                default: return .none
                }
            }
            return .none
        }
    }
}
