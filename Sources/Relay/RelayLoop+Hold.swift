internal import Linux
internal import Synchronization

/// Clients that wait for their servers; see `RelayHold`.
extension RelayLoop {
    /// CLOCK_MONOTONIC nanoseconds, counted from the beginning of this turn.
    func time(after time: Duration) -> UInt64 { now &+ time.wholeNanoseconds }

    /// Takes a place for one more client that waits; false when there is none.
    func enter(_ hold: RelayHold) -> Bool {
        guard hold.enter() else { return false }
        guard total.held.add(1, ordering: .relaxed).newValue <= options.maxHeld else {
            leave(hold)
            return false
        }
        return true
    }

    func leave(_ hold: RelayHold) {
        hold.leave()
        total.held.subtract(1, ordering: .relaxed)
    }

    /// Keeps a connection until it may dial again.
    func hold(_ connection: RelayConnection) {
        // A dial from before the server was said to be back tells nothing.
        let isOutdated = connection.target.role.hold?.turn != connection.wait.dialTurn
        held.add(connection.token, tryAt: isOutdated ? now : time(after: options.heldRetry))
    }

    /// Looks after those that wait before this turn ends.
    func retryHeld() { held.tryNow() }

    /// Ends the clients whose time is up, and has the others dial: all where their server may be back, else the first of
    /// each forward.
    func serveHeld() {
        var hasDialled: Set<ObjectIdentifier> = []
        for token in held.take() {
            guard let connection = connections[token], case .held = connection.stage,
                let hold = connection.target.role.hold
            else { continue }
            if hold.isOver || connection.wait.until <= now {
                connection.end()
                remove(connection)
            } else if hold.turn != connection.wait.dialTurn
                || hasDialled.insert(ObjectIdentifier(hold)).inserted
            {
                connection.dialAgain(self)
                advance(connection)
            } else {
                self.hold(connection)
            }
        }
    }
}
