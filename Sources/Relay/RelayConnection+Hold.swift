/// Clients that wait for their server; see `RelayHold`.
extension RelayConnection {
    /// Has the client wait. nil when its listener holds nobody, when it has waited long enough or too many do, and when
    /// something was said already.
    func hold(_ loop: RelayLoop) -> Verdict? {
        guard let hold = target.role.hold, !hold.isOver, !local.failed, isUntouched else { return nil }
        if wait.until == .max { wait.until = loop.time(after: hold.time) }
        guard loop.time(after: .zero) < wait.until, wait.isHeld || loop.enter(hold) else { return nil }
        wait.isHeld = true
        forgetTunnel(loop.resources)
        stage = .held
        loop.disarm(self)
        loop.hold(self)
        return .waiting
    }

    /// Dials for a client that has waited, from the beginning.
    func dialAgain(_ loop: RelayLoop) {
        wait.dialTurn = target.role.hold?.turn ?? 0
        stage = .handshake(RelayNegotiation(target.role.handshake(local.fd)))
        loop.arm(self, after: loop.options.handshakeTimeout)
    }

    /// The server is back: for the others that wait, too. Known when bytes flow, since it may reset what it has accepted.
    func endWait(_ loop: RelayLoop) {
        guard wait.isHeld, let hold = target.role.hold else { return }
        leaveHold(loop)
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
