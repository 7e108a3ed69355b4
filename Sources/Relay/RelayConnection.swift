internal import Glibc
internal import Linux

/// One relayed connection: the client's or server's socket, the tunnel to the other relay, and a flow each way.
///
/// ```
/// arriving                 what its client says decides on the target
/// handshake -> relaying    both flows run until both have ended in order, or one is reset
///           -> refusing    the last bytes go out, and the peer's close is awaited; so it is with a client that is answered
///           -> held        a client waits for its server, without a tunnel -> handshake
/// relaying -> handshake     both flows have ended, and the host keeps the tunnel for another client
/// ```
/// Confined to its event loop's thread.
///
/// A reset of either socket resets the other. A tunnel of records says when a direction has ended; one that closes
/// before has been reset. In a raw tunnel an orderly end is two half-closes, and only then does a relay close it: one
/// that closes while this side has not ended yet means that the far socket was reset.
final class RelayConnection {
    enum Stage {
        /// Where it goes is not known yet.
        case arriving(RelayArrivals)
        case handshake(RelayNegotiation)
        /// The last bytes go out to the tunnel or to the client.
        case refusing(toClient: Bool)
        case held
        case relaying
    }

    /// What the event loop does after a turn.
    enum Verdict {
        case waiting
        case yielded
        case done
    }

    private(set) var target: RelayTarget
    /// CLOCK_MONOTONIC nanoseconds.
    private(set) var acceptedAt: UInt64
    /// The client on the host, the server in the guest.
    var local = RelayEnd(isTunnel: false)
    var tunnel = RelayEnd(isTunnel: true)
    var stage: Stage
    /// How the tunnel's bytes travel; settled when the first of them does.
    private(set) var form = TunnelForm.raw
    /// CLOCK_MONOTONIC nanoseconds; `.max` for none.
    var deadline = UInt64.max
    /// Bytes of the tunnel that were read with the handshake's and are still to be used.
    var leftover: RelayBuffer?
    /// Bytes for the tunnel that come before the flow's; they go out together with its first ones where that is possible.
    var outbox: ArraySlice<UInt8> = []
    /// The outbox may wait for bytes to go out with, for as long as the loop's patience lasts.
    var isPatient = false
    var toTunnel = RelayFlow()
    var fromTunnel = RelayFlow()
    /// Where the loop keeps it, and the tag its events carry.
    let token: EventToken
    /// Already in the loop's list of connections with more to do.
    var isQueued = false
    /// A dial waits for its next try; no event brings it about sooner.
    var isRetrying = false
    /// Nothing has shown yet that the accepted peer may speak.
    var isSilent = false
    /// The tunnel may carry another connection after this one has ended in order.
    var keepsTunnel = false
    /// Where the tunnel leads, of one that may be kept.
    var tunnelAddress: SocketAddress?
    /// The tunnel has carried a connection, and has not been asked for another.
    var isIdle = false
    var wait = ClientWait()
    /// Bytes of the client that were taken from its socket; they begin its flow once it is settled in which form.
    var lead: [UInt8] = []
    /// The host sends nothing before it has the answer, and may dial again (`RelayHold`).
    var hostWaits = false
    /// The server has ended although nothing was said either way, and a moment was given for its reset (`awaitsReset`).
    var doubtsEnd = false
    private(set) var movedToTunnel: UInt64 = 0
    private(set) var movedFromTunnel: UInt64 = 0
    private var countedForth: UInt64 = 0
    private var countedBack: UInt64 = 0

    init(target: RelayTarget, token: EventToken, acceptedAt: UInt64, accepted: Int32) {
        self.acceptedAt = acceptedAt
        self.target = target
        self.token = token
        stage = Self.firstStage(target.role, accepted)
        wait.dialTurn = target.role.hold?.turn ?? 0
    }

    private static func firstStage(_ role: RelayRole, _ accepted: Int32) -> Stage {
        if let entrance = role.entrance { return .arriving(RelayArrivals(entrance)) }
        return .handshake(RelayNegotiation(role.handshake(accepted)))
    }

    /// Begins anew with another target, as if it had been accepted there; the tunnel gets these bytes, which were taken from
    /// the client's socket, before all others.
    func move(to new: RelayTarget, leading bytes: [UInt8]) {
        lead = bytes
        target.tally.removeActive()
        target = new
        target.tally.addActive()
        stage = Self.firstStage(new.role, local.fd)
        wait.dialTurn = new.role.hold?.turn ?? 0
    }

    /// Bytes have lately come in larger pieces than small talk has.
    var isBulk: Bool { toTunnel.isBulk || fromTunnel.isBulk }

    var isRelaying: Bool { if case .relaying = stage { true } else { false } }

    /// Goes as far as it can without waiting.
    func advance(_ loop: RelayLoop) -> Verdict {
        guard !isRetrying else { return .waiting }
        while case .arriving(let arrivals) = stage {
            if let verdict = arrivals.look(self, loop) { return verdict }
        }
        while case .handshake(let negotiation) = stage {
            if let verdict = negotiation.step(self, loop) { return verdict }
        }
        switch stage {
        case .refusing(let toClient):
            let scratch = loop.resources.scratch.memory
            let verdict = toClient ? local.finish(&outbox, scratch) : tunnel.finish(&outbox, scratch)
            return verdict ?? abort()
        case .held: return local.failed ? fail() : .waiting
        case .arriving, .handshake, .relaying: return relay(loop)
        }
    }

    /// Gives everything back. The sockets are closed in order unless they have been reset.
    func release(_ loop: RelayLoop) {
        discard(loop.resources)
        leaveHold(loop)
        local.close()
        tunnel.close()
    }

    /// Nothing has been said through the tunnel, either way.
    var isUntouched: Bool { movedToTunnel == 0 && movedFromTunnel == 0 && toTunnel.isUntouched }

    /// Gives the tunnel up, for another one.
    func forgetTunnel(_ resources: RelayResources) {
        discard(resources)
        tunnel.reset()
        (toTunnel, fromTunnel, form, outbox) = (RelayFlow(), RelayFlow(), .raw, [])
        (movedToTunnel, countedForth) = (0, 0)
    }

    /// Gives pipes and buffers back; the bytes in them are lost.
    func discard(_ resources: RelayResources) {
        toTunnel.discard(resources)
        fromTunnel.discard(resources)
        if let leftover { resources.buffers.give(leftover) }
        leftover = nil
    }

    /// Ends the connection with a RST to both sides, as far as their transports have one.
    func abort() -> Verdict {
        // A peer over unix or vsock still reads it: whether a server was reached is told even if it went away at once.
        if target.role.tunnel == .accepted { _ = flush() }
        local.reset()
        tunnel.reset()
        return .done
    }

    /// Ends a connection that never came to relaying.
    func fail() -> Verdict {
        if !isIdle { target.tally.addFailure() }
        return abort()
    }

    /// Ends it now: its time is up, or the loop can't watch it any more.
    func end() { _ = isRelaying ? abort() : fail() }

    /// Writes the outbox; nil once it is empty.
    func flush() -> Transfer? { tunnel.say(&outbox) }

    /// Gives up the pipes and buffers that hold bytes for an end that takes none.
    func spill(_ resources: RelayResources) {
        if !tunnel.writable { toTunnel.spill(resources) }
        if !local.writable { fromTunnel.spill(resources) }
    }

    // MARK: Relaying

    /// From now on bytes flow, beginning with those that came together with the handshake.
    func beginRelaying(_ loop: RelayLoop, atOnce: Bool) {
        stage = .relaying
        loop.disarm(self)
        if let leftover {
            fromTunnel.take(over: leftover)
        } else if target.role.tunnel == .accepted {
            // While the server was dialled, the client's first bytes have most often come: a look costs less than their event.
            tunnel.readable = true
        }
        leftover = nil
        if target.role.hold != nil, form == .records { toTunnel.kept = [] }
        (hostWaits, doubtsEnd) = (atOnce, false)
        guard target.role.tunnel == .accepted, !atOnce else { return }
        isPatient = true
        loop.remind(self)
    }

    /// Settles how the tunnel's bytes travel, before the first of them does.
    func setForm(_ new: TunnelForm) {
        guard new != form else { return }
        form = new
        toTunnel.writeRecords()
        fromTunnel.readRecords()
    }

    private func relay(_ loop: RelayLoop) -> Verdict {
        if form == .raw { tunnel.noteLoss() }
        if hostWaits, awaitsReset(loop) { return .waiting }
        let resources = loop.resources
        let before = movedToTunnel &+ movedFromTunnel
        // Before the outbox goes out: the server's answer takes longer than the host's need for the status.
        var pass = RelayFlow.Pass(resources: resources, isLast: toTunnel.state == .ended)
        let back = fromTunnel.run(from: &tunnel, to: &local, &pass, moved: &movedFromTunnel)
        // Reset as it was connected, most often with the queue of a listener that closes: no byte has reached the server.
        if back == .sourceFailed, let verdict = hold(loop) { return verdict }
        if movedFromTunnel > 0 { toTunnel.kept = nil }
        // An end of file that follows a failed write is none.
        if back == .sinkFailed { local.failed = true }
        guard placeLead(resources) else { return abort() }
        pass = RelayFlow.Pass(
            resources: resources, isLast: back == .ended, isPatient: isPatient,
            freesTunnel: back == .ended && keepsTunnel && target.role.tunnel == .accepted)
        let out = toTunnel.run(from: &local, to: &tunnel, &pass, after: &outbox, moved: &movedToTunnel)
        if outbox.isEmpty { isPatient = false }
        if wait.isOpen, before != movedToTunnel &+ movedFromTunnel { endWait(loop) }
        count()
        if out == .sinkFailed { tunnel.failed = true }
        // With records nobody closes a tunnel that the other has not ended: it was reset.
        if form == .records, tunnel.peerIsGone, out != .ended { tunnel.failed = true }
        if local.failed || out == .sourceFailed, let verdict = tellUndelivered(loop) { return verdict }
        // A read fails only after everything that came before the reset has been read and passed on.
        if out == .sourceFailed || back == .sourceFailed { return abort() }
        // What a lost peer sent before it went is passed on as far as the other side takes it at once.
        if local.failed, out != .yielded { return abort() }
        if tunnel.failed, back != .yielded, !(form == .records && back == .ended && out == .ended) {
            return abort()
        }
        if out == .ended, back == .ended { return complete(loop) }
        if out == .ended || back == .ended {
            let moved = before != movedToTunnel &+ movedFromTunnel
            if deadline == .max || moved { loop.arm(self, after: loop.options.halfClosedTimeout) }
        }
        return out == .yielded || back == .yielded ? .yielded : .waiting
    }

    /// Begins anew with the tunnel that it has, which may be asked to carry another connection; `words` go out before.
    func startOver(saying words: ArraySlice<UInt8>, _ loop: RelayLoop) {
        discard(loop.resources)
        local.close()
        (toTunnel, fromTunnel, form, outbox, isPatient) = (RelayFlow(), RelayFlow(), .raw, words, false)
        (movedToTunnel, movedFromTunnel, countedForth, countedBack) = (0, 0, 0, 0)
        acceptedAt = loop.now
        stage = Self.firstStage(target.role, tunnel.fd)
        (isIdle, keepsTunnel) = (true, false)
        loop.arm(self, after: loop.options.idleTimeout)
    }

    /// Ends it after these last words to the client.
    func answer(with bytes: [UInt8]) {
        outbox += bytes
        stage = .refusing(toClient: true)
    }

    /// Puts the bytes that lead in front of the client's flow; false where there is no memory for them.
    private func placeLead(_ resources: RelayResources) -> Bool {
        guard !lead.isEmpty else { return true }
        defer { lead = [] }
        return toTunnel.lead(with: lead, resources)
    }

    /// Runs the flow to the tunnel while the answer is still awaited: the host need not wait to send.
    func sendAhead(_ loop: RelayLoop) -> RelayFlow.Turn {
        guard placeLead(loop.resources) else { return .sourceFailed }
        var pass = RelayFlow.Pass(resources: loop.resources, isLast: false)
        let turn = toTunnel.run(from: &local, to: &tunnel, &pass, after: &outbox, moved: &movedToTunnel)
        count()
        return turn
    }

    /// Brings what moved since the last call into the target's counters.
    private func count() {
        let (forth, back) =
            switch target.role.tunnel {
            case .dialled: (movedToTunnel, movedFromTunnel)
            case .accepted: (movedFromTunnel, movedToTunnel)
            }
        target.tally.add(forth: forth &- countedForth, back: back &- countedBack)
        (countedForth, countedBack) = (forth, back)
    }
}
