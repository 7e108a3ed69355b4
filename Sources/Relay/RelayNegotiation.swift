internal import Glibc
internal import Linux

/// Carries out the steps of a connection's handshake on its sockets, as far as they go without waiting.
final class RelayNegotiation {
    private enum Step {
        case begin
        /// Waits for a connect, or for a free descriptor to begin one.
        case dial(SocketAddress)
        case receive(Int, TunnelForm?)
    }

    private var handshake: any RelayHandshake
    private var step = Step.begin

    init(_ handshake: any RelayHandshake) { self.handshake = handshake }

    /// One step of the handshake; nil when the next can follow at once.
    func step(_ connection: RelayConnection, _ loop: RelayLoop) -> RelayConnection.Verdict? {
        switch step {
        case .begin: return take(.accepted, connection, loop)
        case .dial(let address): return dial(address, connection, loop)
        case .receive(let count, nil):
            switch connection.flush() {
            case nil: return receive(count, connection, loop)
            case .failed: return connection.fail()
            default: return .waiting
            }
        case .receive(let count, .some): return receiveMeanwhile(count, connection, loop)
        }
    }

    /// Tells the handshake what has happened, and prepares what it wants next.
    private func take(
        _ event: HandshakeEvent, _ connection: RelayConnection, _ loop: RelayLoop
    ) -> RelayConnection.Verdict? {
        switch handshake.next(event) {
        case .dial(let address):
            // Whoever is to be connected somewhere has shown that it may.
            if connection.isSilent { loop.admit(connection) }
            if connection.isIdle {
                connection.isIdle = false
                loop.arm(connection, after: loop.options.handshakeTimeout)
            }
            step = .dial(address)
        case .send(let bytes):
            // They wait for what follows: an answer to be awaited, or bytes of the client to go out with.
            connection.outbox += bytes
            return take(.sent, connection, loop)
        case .receive(let count, let meanwhile):
            if let meanwhile { connection.setForm(meanwhile) }
            step = .receive(count, meanwhile)
        case .relay(let form, let saying, let atOnce):
            connection.setForm(form)
            connection.keepsTunnel = handshake.keepsTunnel
            connection.outbox += saying
            connection.beginRelaying(loop, atOnce: atOnce)
        case .refuse(let bytes):
            connection.target.tally.addFailure()
            connection.outbox += bytes
            connection.stage = .refusing(toClient: false)
        case .away: return connection.hold(loop) ?? connection.fail()
        case .fail: return connection.fail()
        case .handOver:
            if let tunnel = loop.detach(&connection.tunnel) { handshake.take(tunnel) }
            return .done
        }
        return nil
    }

    private func dial(
        _ address: SocketAddress, _ connection: RelayConnection, _ loop: RelayLoop
    ) -> RelayConnection.Verdict? {
        let isAccepted = connection.target.role.tunnel == .accepted
        if !isAccepted, !connection.tunnel.isOpen, handshake.keepsTunnel {
            connection.tunnelAddress = address
            if loop.spares.take(address, into: &connection.tunnel) { return take(.reused, connection, loop) }
        }
        let progress =
            isAccepted
            ? Self.connect(&connection.local, to: address) { () throws(SystemError) in
                try loop.serverSockets.take(for: address)
            }
            : Self.connect(&connection.tunnel, to: address) { () throws(SystemError) in
                try StreamSocket.prepare(for: address)
            }
        switch progress {
        case .success(true): return take(.connected, connection, loop)
        case .success(false): break
        case .failure(let error):
            guard loop.retryLater(connection, after: error) else {
                return take(.failed(error), connection, loop)
            }
        }
        guard isAccepted else { return .waiting }
        // The peer may have given up: then nobody waits any more for this connect, or for the descriptor that it needs.
        connection.tunnel.noteLoss()
        return connection.tunnel.failed ? connection.fail() : .waiting
    }

    /// Begins a connect, or looks how it goes: true when it has come through. A failed one is closed.
    private static func connect(
        _ end: inout RelayEnd, to address: SocketAddress,
        with socket: () throws(SystemError) -> OwnedDescriptor
    ) -> Result<Bool, SystemError> {
        if !end.isOpen {
            do throws(SystemError) {
                let new = try socket()
                try StreamSocket.beginConnecting(new.rawValue, to: address)
                end.open(new, Transport(address))
            } catch {
                return .failure(error)
            }
        }
        var code: Int32 = 0
        switch end.connectProgress() {
        case .wouldBlock: return .success(false)
        case .failed(let reason): code = reason
        case .moved: code = StreamSocket.isConnectedToItself(end.fd, at: address) ? ECONNREFUSED : 0
        }
        guard code != 0 else { return .success(true) }
        end.reset()
        return .failure(SystemError(code: code, operation: "connect"))
    }

    /// Hands the next bytes of the tunnel to the handshake. What comes behind them, most often the first bytes of the
    /// stream, is read with them and kept.
    private func receive(
        _ count: Int, _ connection: RelayConnection, _ loop: RelayLoop
    ) -> RelayConnection.Verdict? {
        if connection.leftover == nil {
            guard connection.tunnel.readable else { return .waiting }
            guard let buffer = loop.resources.buffers.take() else {
                return receiveExactly(count, connection, loop)
            }
            let result = connection.tunnel.receive(buffer.memory)
            guard case .moved(let got) = result, got > 0 else {
                loop.resources.buffers.give(buffer)
                if case .wouldBlock = result { return .waiting }
                return lost(connection, loop)
            }
            buffer.fill(got)
            connection.leftover = buffer
        }
        guard let buffer = connection.leftover else { return .waiting }
        let bytes = Array(buffer.bytes.prefix(count))
        buffer.consume(bytes.count)
        if buffer.count == 0 {
            loop.resources.buffers.give(buffer)
            connection.leftover = nil
        }
        return take(.received(bytes), connection, loop)
    }

    /// As `receive`, where the loop has no buffer left: reads no more than is asked for.
    private func receiveExactly(
        _ count: Int, _ connection: RelayConnection, _ loop: RelayLoop
    ) -> RelayConnection.Verdict? {
        var bytes: [UInt8] = []
        let result = withUnsafeTemporaryAllocation(byteCount: count, alignment: 1) { memory in
            let result = connection.tunnel.receive(memory)
            if case .moved(let got) = result { bytes = Array(memory[..<got]) }
            return result
        }
        switch result {
        case .wouldBlock: return .waiting
        case .failed, .moved(0): return lost(connection, loop)
        case .moved: return take(.received(bytes), connection, loop)
        }
    }

    /// The tunnel has ended before the peer has answered. A client that is held has said nothing yet.
    private func lost(_ connection: RelayConnection, _ loop: RelayLoop) -> RelayConnection.Verdict {
        connection.hold(loop) ?? connection.fail()
    }

    /// As `receive`, while what the client has said so far is sent ahead.
    private func receiveMeanwhile(
        _ count: Int, _ connection: RelayConnection, _ loop: RelayLoop
    ) -> RelayConnection.Verdict? {
        let ahead = connection.sendAhead(loop)
        if ahead == .sourceFailed { return connection.fail() }
        // An answer may still be on its way when only the sending side fails.
        let verdict = receive(count, connection, loop)
        return verdict == .waiting && ahead == .yielded ? .yielded : verdict
    }
}
