internal import CLinux
internal import Glibc
package import Linux
internal import Synchronization

/// A listening socket that a relay engine accepts from; it listens until `close` or the engine's end.
///
/// One event loop watches it and hands connections on to the others. That every loop watches (EPOLLEXCLUSIVE) was measured to
/// be slower: a short connection then most often wakes a second thread while the first is busy with the end of the one before.
package final class RelayListener: Sendable {
    /// The bound address; a port that was given as 0 is the kernel's choice here.
    package let address: SocketAddress
    /// What its connections are relayed to.
    package let target: RelayTarget
    private let inbox: LoopInbox
    private let total: RelayTotal
    private let socket: Mutex<Socket>

    private struct Socket: ~Copyable {
        var descriptor: OwnedDescriptor?
        var token: EventToken?
    }

    enum Accepted: ~Copyable {
        case connection(OwnedDescriptor)
        /// One that its role does not admit; it is reset by now.
        case refused
        /// Nobody waits, or the listener is closed.
        case none
        /// No descriptors or memory left.
        case exhausted(SystemError)
    }

    init(
        _ descriptor: consuming OwnedDescriptor, role: RelayRole, inbox: LoopInbox, total: RelayTotal
    ) throws(SystemError) {
        let fd = descriptor.rawValue
        address = try StreamSocket.localAddress(fd)
        target = RelayTarget(role: role, transport: Transport(address))
        self.inbox = inbox
        self.total = total
        if case .tcp = address {
            // Accepted sockets inherit these: calls here instead of for each connection.
            try StreamSocket.setOption(fd, Int32(IPPROTO_TCP), TCP_NODELAY, Int32(1), "TCP_NODELAY")
            if role.tunnel == .dialled { StreamSocket.resetUnlessEnded(fd) }
            if !role.acceptsSilent {
                try StreamSocket.setOption(
                    fd, Int32(IPPROTO_TCP), TCP_DEFER_ACCEPT, Int32(1), "TCP_DEFER_ACCEPT")
            }
        }
        socket = Mutex(Socket(descriptor: consume descriptor))
        total.listeners.add(1, ordering: .relaxed)
    }

    /// What went through it so far; stays readable after `close`.
    package var counters: RelayCounters { target.counters }

    /// Stops listening: new connects are refused once this returns. Live connections go on, and so do those that wait to
    /// be accepted.
    package func close() {
        // Clients that have connected already keep their connections: they could not know.
        drain: while true {
            switch accept() {
            case .connection(let descriptor): adopt(descriptor)
            case .refused: continue
            case .none: break drain
            case .exhausted: break drain
            }
        }
        let token = socket.withLock { socket in
            // A client whose handshake completes while close(2) runs gets FIN and then RST, so that it sees an empty
            // reply; after shutdown(2) it gets RST alone.
            if let fd = socket.descriptor?.rawValue {
                _ = shutdown(fd, Int32(SHUT_RD))
                total.listeners.subtract(1, ordering: .relaxed)
            }
            socket.descriptor = nil
            return socket.token.take()
        }
        if let token { inbox.remove(token) }
    }

    /// Hands a connection that was accepted outside of the loop to it; an engine that has ended resets it.
    private func adopt(_ descriptor: consuming OwnedDescriptor) {
        let fd = descriptor.release()
        if !inbox.post(.adopt(fd, target)) { _ = OwnedDescriptor(owning: fd) }
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

    /// Level-triggered: what one turn leaves in the backlog is reported again.
    func resume() throws(SystemError) {
        let failure: SystemError? = socket.withLock { socket in
            guard let fd = socket.descriptor?.rawValue, let token = socket.token else { return nil }
            do throws(SystemError) {
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
                let admits = target.role.admitsClient
                var peer: SocketAddress?
                let result =
                    admits == nil ? clinux_accept(fd, nil, nil) : StreamSocket.accept(fd, peer: &peer)
                if result >= 0 {
                    let client = OwnedDescriptor(owning: result)
                    guard let admits else { return .connection(client) }
                    if let peer, admits(RelayClient(socket: result, address: peer, server: address)) {
                        return .connection(client)
                    }
                    target.tally.addRefusal()
                    return .refused
                }
                let error = SystemError.current("accept4")
                switch error.code {
                // A client that has gone again, or a network error meant for it (accept(2), ERRORS).
                case EINTR, ECONNABORTED, EPROTO, ENETDOWN, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH,
                    EOPNOTSUPP, ENETUNREACH, EPERM:
                    continue
                default: return error.isExhaustion ? .exhausted(error) : .none
                }
            }
            return .none
        }
    }
}
