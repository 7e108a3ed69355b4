internal import AgentChannel
internal import Glibc
internal import Linux
internal import Ports

/// One relayed connection: the client's or server's socket, the tunnel to the other relay, and a flow each way.
///
/// Confined to its event loop's thread.
///
/// An orderly end is two half-closes, and only then does a relay close its tunnel. So a tunnel that closes
/// while this side has not ended yet means that the far socket was reset: unix and vsock have no RST of their
/// own to say it.
final class RelayConnection {
    enum Stage {
        /// Host: the tunnel is being connected, or waits to be tried again.
        case dialling
        /// Host: `CONNECT` has been sent to a hybrid socket.
        case greeting
        /// Host: the preamble has been sent; client bytes already follow it.
        case awaitingStatus
        /// Guest: the host has not said everything yet.
        case readingPreamble
        /// Guest: one of the candidates is being connected.
        case connecting
        /// Guest: a refusal is on its way to the host.
        case refusing
        case relaying
    }

    /// What the event loop does after a turn.
    enum Verdict {
        case waiting
        case yielded
        case done
    }

    let listener: RelayListener
    /// CLOCK_MONOTONIC nanoseconds.
    let acceptedAt: UInt64
    /// The client on the host, the server in the guest.
    var local = RelayEnd(isTunnel: false)
    var tunnel = RelayEnd(isTunnel: true)
    var stage: Stage
    /// CLOCK_MONOTONIC nanoseconds; `.max` for none.
    var deadline = UInt64.max
    /// Bytes for the tunnel that come before the flow's: a greeting, a preamble or a status.
    var outbox: ArraySlice<UInt8> = []
    /// Bytes of an incomplete preamble or greeting.
    var inbox: [UInt8] = []
    /// Guest: addresses still to be tried.
    var candidates: ArraySlice<SocketAddress> = []
    var toTunnel = RelayFlow()
    var fromTunnel = RelayFlow()
    /// Where the loop keeps it, and the tag its events carry.
    var token: EventToken
    /// Already in the loop's list of connections with more to do.
    var isQueued = false
    private var movedToTunnel: UInt64 = 0
    private var movedFromTunnel: UInt64 = 0

    init(listener: RelayListener, token: EventToken, stage: Stage, acceptedAt: UInt64) {
        self.acceptedAt = acceptedAt
        self.listener = listener
        self.token = token
        self.stage = stage
    }

    /// Bytes have lately come in larger pieces than small talk has.
    var isBulk: Bool { toTunnel.isBulk || fromTunnel.isBulk }

    /// Goes as far as it can without waiting.
    func advance(_ loop: RelayLoop) -> Verdict {
        while stage != .relaying {
            let step =
                switch listener.role {
                case .host(let agent, let preamble): hostStep(loop, agent, preamble)
                case .guest(let policy): guestStep(loop, policy)
                }
            if let step { return step }
        }
        return relay(loop)
    }

    /// Gives everything back. The sockets are closed in order unless they have been reset.
    func release(_ loop: RelayLoop) {
        toTunnel.discard(loop.resources)
        fromTunnel.discard(loop.resources)
        local.close()
        tunnel.close()
    }

    /// Ends the connection with a RST to both sides, as far as their transports have one.
    func abort() -> Verdict {
        local.reset()
        tunnel.reset()
        return .done
    }

    /// Ends a connection that never came to relaying.
    func fail() -> Verdict {
        listener.tally.addFailure()
        return abort()
    }

    /// Writes the outbox; nil once it is empty.
    func flush() -> Transfer? {
        while !outbox.isEmpty {
            guard tunnel.writable else { return .wouldBlock }
            let result = outbox.withUnsafeBytes { tunnel.transmit($0) }
            guard case .moved(let count) = result else { return result }
            outbox = outbox.dropFirst(count)
        }
        return nil
    }

    // MARK: Relaying

    private func relay(_ loop: RelayLoop) -> Verdict {
        tunnel.noteLoss()
        let resources = loop.resources
        let before = movedToTunnel &+ movedFromTunnel
        // Before the status goes out: the server's answer takes longer than the host's need for it.
        let back = fromTunnel.run(
            from: &tunnel, to: &local, using: resources, isLast: toTunnel.state == .ended,
            moved: &movedFromTunnel)
        let out: RelayFlow.Turn
        switch flush() {
        case nil:
            out = toTunnel.run(
                from: &local, to: &tunnel, using: resources, isLast: back == .ended, moved: &movedToTunnel)
        case .failed: out = .sinkFailed
        default: out = .waiting
        }
        count()
        if out == .sinkFailed { tunnel.failed = true }
        if back == .sinkFailed { local.failed = true }
        // A read fails only after everything that came before the reset has been read and passed on.
        if out == .sourceFailed || back == .sourceFailed { return abort() }
        // What a lost peer sent before it went is passed on as far as the other side takes it at once.
        if local.failed, out != .yielded { return abort() }
        if tunnel.failed, back != .yielded { return abort() }
        if out == .ended, back == .ended { return .done }
        if out == .ended || back == .ended {
            let moved = before != movedToTunnel &+ movedFromTunnel
            if deadline == .max || moved { loop.arm(self, after: loop.halfClosedTimeout) }
        }
        return out == .yielded || back == .yielded ? .yielded : .waiting
    }

    /// Brings what moved since the last call into the listener's counters.
    func count() {
        let (up, down) =
            switch listener.role {
            case .host: (movedToTunnel, movedFromTunnel)
            case .guest: (movedFromTunnel, movedToTunnel)
            }
        listener.tally.add(toGuest: up &- countedToGuest, fromGuest: down &- countedFromGuest)
        countedToGuest = up
        countedFromGuest = down
    }

    private var countedToGuest: UInt64 = 0
    private var countedFromGuest: UInt64 = 0

    /// Runs the flow to the tunnel while the answer is still awaited: the host need not wait to send.
    func sendAhead(_ loop: RelayLoop) -> RelayFlow.Turn {
        let turn = toTunnel.run(
            from: &local, to: &tunnel, using: loop.resources, isLast: false, moved: &movedToTunnel)
        count()
        return turn
    }
}
