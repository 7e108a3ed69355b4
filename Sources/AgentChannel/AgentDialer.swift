internal import CLinux
internal import Glibc
package import Linux
internal import Relay
internal import Synchronization

/// Connects to a port of an agent, for callers that may not block.
package struct AgentDialer: Sendable {
    package let address: AgentAddress
    /// For the connect, the greeting of a hybrid socket, and the answer to a preamble together.
    package let timeout: Duration

    package init(address: AgentAddress, timeout: Duration = .seconds(3)) {
        self.address = address
        self.timeout = timeout
    }

    /// A connected, non-blocking socket on which the agent's own protocol can start.
    ///
    /// Waits on a short-lived thread of its own; a cancelled task gives up at once.
    package func dial(_ port: AgentPort) async throws(AgentDialError) -> OwnedDescriptor {
        try await dial(port, asking: [])
    }

    /// The same, to a connection over which the agent sends its tables. One that does not offer them refuses.
    package func dial(_ preamble: TablePreamble) async throws(AgentDialError) -> OwnedDescriptor {
        try await dial(.forward, asking: preamble.bytes)
    }

    private func dial(
        _ port: AgentPort, asking question: [UInt8]
    ) async throws(AgentDialError) -> OwnedDescriptor {
        let attempt: DialAttempt
        do throws(SystemError) {
            attempt = try DialAttempt()
        } catch {
            throw AgentDialError(address: address, port: port, reason: .system(error))
        }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                do throws(SystemError) {
                    try DedicatedThread.start(name: "dial") {
                        let opening = AgentOpening(to: port, of: address, asking: question)
                        continuation.resume(returning: attempt.run(opening, timeout))
                    }
                } catch {
                    continuation.resume(returning: .failure(.system(error)))
                }
            }
        } onCancel: {
            attempt.cancel()
        }
        switch result {
        case .success(let fd): return OwnedDescriptor(owning: fd)
        case .failure(let reason): throw AgentDialError(address: address, port: port, reason: reason)
        }
    }
}

/// One dial, on a thread that may block; another thread can cancel it.
private final class DialAttempt: Sendable {
    private let canceller: Waker

    init() throws(SystemError) { canceller = try Waker() }

    func cancel() { canceller.wake() }

    /// The connected descriptor, which the caller owns.
    func run(
        _ opening: AgentOpening, _ timeout: Duration
    ) -> Result<Int32, AgentDialError.Reason> {
        let deadline = ContinuousClock.now + timeout
        var opening = opening
        // Whatever fails, the descriptor's owner closes it.
        var socket: OwnedDescriptor?
        var event = HandshakeEvent.accepted
        do throws(AgentDialError.Reason) {
            while true {
                let fd = socket?.rawValue ?? -1
                switch opening.next(event) {
                case .dial(let address): event = try connect(to: address, deadline, &socket)
                case .send(let bytes): event = try send(bytes, on: fd)
                case .receive(let count, _): event = try receive(count, from: fd, deadline)
                case .relay: return .success(socket.take()?.release() ?? -1)
                case .refuse, .away, .fail, .handOver: throw opening.failure ?? .timedOut
                }
            }
        } catch {
            return .failure(error)
        }
    }

    private func connect(
        to address: SocketAddress, _ deadline: ContinuousClock.Instant, _ place: inout OwnedDescriptor?
    ) throws(AgentDialError.Reason) -> HandshakeEvent {
        while true {
            let socket: OwnedDescriptor
            do throws(SystemError) {
                socket = try StreamSocket.connect(to: address)
            } catch {
                // The backlog of a unix socket is full (connect(2)): try again shortly.
                guard error.code == EAGAIN else { return .failed(error) }
                try pause(deadline)
                continue
            }
            try wait(for: POLLOUT, on: socket.rawValue, deadline)
            if let error = StreamSocket.pendingError(socket.rawValue) { return .failed(error) }
            place = consume socket
            return .connected
        }
    }

    /// A fresh socket has room for one short line.
    private func send(_ bytes: [UInt8], on fd: Int32) throws(AgentDialError.Reason) -> HandshakeEvent {
        guard Glibc.send(fd, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw .system(.current("send"))
        }
        return .sent
    }

    private func receive(
        _ count: Int, from fd: Int32, _ deadline: ContinuousClock.Instant
    ) throws(AgentDialError.Reason) -> HandshakeEvent {
        var bytes = [UInt8](repeating: 0, count: count)
        while true {
            let got = recv(fd, &bytes, count, 0)
            if got > 0 { return .received(Array(bytes[..<got])) }
            guard got < 0 else { throw .greetingCut }
            let error = SystemError.current("recv")
            guard error.code == EAGAIN || error.code == EINTR else { throw .system(error) }
            try wait(for: POLLIN, on: fd, deadline)
        }
    }

    private func pause(_ deadline: ContinuousClock.Instant) throws(AgentDialError.Reason) {
        let end = min(deadline, .now + .milliseconds(5))
        do throws(AgentDialError.Reason) {
            try wait(for: 0, on: -1, end)
        } catch {
            guard case .timedOut = error, end < deadline else { throw error }
        }
    }

    /// Returns when `fd` has one of `events`, or an error to be asked for.
    private func wait(
        for events: Int32, on fd: Int32, _ deadline: ContinuousClock.Instant
    ) throws(AgentDialError.Reason) {
        while true {
            let left = deadline - .now
            guard left > .zero else { throw .timedOut }
            var entries = [
                pollfd(fd: fd, events: Int16(events), revents: 0),
                pollfd(fd: canceller.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            let milliseconds = Int64((left / .milliseconds(1)).rounded(.up))
            let count = poll(&entries, 2, Int32(clamping: milliseconds))
            if count < 0 {
                let error = SystemError.current("poll")
                guard error.code == EINTR else { throw .system(error) }
            }
            if count > 0, entries[1].revents != 0 { throw .cancelled }
            if count > 0, entries[0].revents != 0 { return }
        }
    }
}
