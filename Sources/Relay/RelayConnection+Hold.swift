/// Clients that wait for their server; see `RelayHold`.
extension RelayConnection {
    /// Has the client wait. nil when its listener holds nobody, when it has waited long enough or too many do, and when
    /// something that its server may have got was said already.
    func hold(_ loop: RelayLoop) -> Verdict? {
        guard let hold = target.role.hold, !hold.isOver, !local.failed else { return nil }
        let again = isUntouched ? lead : undelivered
        guard let again else { return nil }
        if wait.until == .max { wait.until = loop.time(after: hold.time) }
        guard loop.time(after: .zero) < wait.until, wait.isHeld || loop.enter(hold) else { return nil }
        wait.isHeld = true
        if !isUntouched { wait.isDoubtful = true }
        lead = again
        forgetTunnel(loop.resources)
        stage = .held
        loop.disarm(self)
        loop.hold(self)
        return .waiting
    }

    /// All that the client has said, if no server has got any of it.
    private var undelivered: [UInt8]? {
        guard fromTunnel.reader?.saysUndelivered == true, movedFromTunnel == 0 else { return nil }
        return toTunnel.kept
    }

    /// Whether the server's end is kept for a moment, since the server's socket may be reset. So it is in the agent, where
    /// nothing was said either way: a handshake that meets the close(2) of a listener is ended in order first
    /// (docs/kernel-facts.md).
    func awaitsReset(_ loop: RelayLoop) -> Bool {
        guard target.role.tunnel == .accepted, isUntouched, local.peerIsGone, !local.failed,
            local.readableBytes == 0
        else { return false }
        if !doubtsEnd {
            (doubtsEnd, isPatient) = (true, true)
            loop.remind(self)
        }
        return isPatient
    }

    /// Tells a host that waits for its answers that the server was lost before a byte had reached it, most often in the queue
    /// of a listener that closes; nil where that is not so.
    func tellUndelivered(_ loop: RelayLoop) -> Verdict? {
        guard hostWaits, isUntouched, !tunnel.failed, target.role.tunnel == .accepted else { return nil }
        discard(loop.resources)
        local.reset()
        outbox += withUnsafeBytes(of: RelayRecord.undelivered.bigEndian) { Array($0) }
        stage = .refusing(toClient: false)
        loop.arm(self, after: loop.options.handshakeTimeout)
        return tunnel.finish(&outbox, loop.resources.scratch.memory) ?? abort()
    }

    /// Dials for a client that has waited, from the beginning.
    func dialAgain(_ loop: RelayLoop) {
        wait.dialTurn = target.role.hold?.turn ?? 0
        stage = .handshake(RelayNegotiation(target.role.handshake(local.fd)))
        loop.arm(self, after: loop.options.handshakeTimeout)
    }

    /// The server is back: for the others that wait, too. Known when bytes flow, since it may reset what it has accepted.
    func endWait(_ loop: RelayLoop) {
        guard let hold = target.role.hold else { return }
        leaveHold(loop)
        guard !wait.isDoubtful || movedFromTunnel > 0 else { return }
        wait.isDoubtful = false
        hold.retry()
        loop.retryHeld()
    }

    /// Gives its place among those that wait back.
    func leaveHold(_ loop: RelayLoop) {
        guard wait.isHeld, let hold = target.role.hold else { return }
        wait.isHeld = false
        loop.leave(hold)
    }
}
