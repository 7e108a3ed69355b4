package import Linux
internal import Synchronization

/// Relays connections between listeners and what they lead to, on event loops with threads of their own.
///
/// One engine serves host and agent alike: a listener's role says what is said before bytes flow, then they move
/// both ways with half-closes and resets passed on. All calls are safe from any thread, and none waits but
/// `shutdown`. An engine that goes away ends as with `shutdown`.
package final class RelayEngine: Sendable {
    private let options: RelayOptions
    private let inboxes: [LoopInbox]
    private let total = RelayTotal()
    private let listenersAdded = Atomic<Int>(0)

    /// Starts the event loops.
    ///
    /// - Parameter log: gets a line of text for what an operator should know; called on the loops' threads.
    /// - Throws: when the kernel has no descriptors or threads left.
    package init(
        options: RelayOptions = RelayOptions(), log: @escaping @Sendable (String) -> Void = { _ in }
    ) throws(SystemError) {
        // Read now, so that no loop reads a file.
        _ = StreamSocket.firstEphemeralPort
        var inboxes: [LoopInbox] = []
        for _ in 0..<max(1, options.loops) { inboxes.append(try LoopInbox()) }
        self.options = options
        self.inboxes = inboxes
        let (peers, total) = (inboxes, total)
        for (index, inbox) in inboxes.enumerated() {
            do throws(SystemError) {
                try DedicatedThread.start(name: "relay-\(index)") {
                    RelayLoop(options, inbox: inbox, peers: peers, total: total, log: log).run()
                }
            } catch {
                for started in inboxes[..<index] { _ = started.post(.stop {}) }
                throw error
            }
        }
    }

    deinit {
        for inbox in inboxes { _ = inbox.post(.stop {}) }
    }

    /// Connections open now, over all listeners.
    package var activeConnections: Int { total.connections.load(ordering: .relaxed) }

    /// Takes a listening, non-blocking socket over and accepts from it until the listener is closed.
    package func listen(
        on descriptor: consuming OwnedDescriptor, role: RelayRole
    ) throws(SystemError) -> RelayListener {
        let turn = listenersAdded.add(1, ordering: .relaxed).oldValue
        let listener = try RelayListener(
            descriptor, role: role, inbox: inboxes[turn % inboxes.count], total: total)
        try listener.start()
        return listener
    }

    /// Takes over a client's socket that another process has accepted; without room for it, it is reset.
    ///
    /// - Parameter target: one with an entrance; others are not asked here whether they admit it.
    package func adopt(_ client: consuming OwnedDescriptor, as target: RelayTarget) {
        let quietest = inboxes.min { $0.load.load(ordering: .relaxed) < $1.load.load(ordering: .relaxed) }
        guard let quietest, total.hasRoom(options) else { return }
        let fd = client.release()
        if !quietest.post(.adopt(fd, target)) { _ = OwnedDescriptor(owning: fd) }
    }

    /// Aborts, soon, the connections that were accepted before a CLOCK_MONOTONIC time in nanoseconds, those of
    /// listeners that are closed by now too.
    package func resetConnections(acceptedBefore time: UInt64) {
        for inbox in inboxes { _ = inbox.post(.reset(acceptedBefore: time)) }
    }

    /// Resets, soon, the connections whose tunnel the guest has lost without a word, as it loses those over vsock in its sleep.
    package func findLostTunnels() {
        for inbox in inboxes { _ = inbox.post(.findLostTunnels) }
    }

    /// Has the clients that wait dial now, or end those whose hold is over.
    package func retry(_ hold: RelayHold) {
        hold.retry()
        guard hold.waiting > 0 else { return }
        for inbox in inboxes { _ = inbox.post(.retryHeld) }
    }

    /// Closes every listener, aborts every connection and ends the threads; returns once that is done.
    package func shutdown() async {
        for inbox in inboxes {
            await withCheckedContinuation { continuation in
                if !inbox.post(.stop { continuation.resume() }) { continuation.resume() }
            }
        }
    }
}

/// What all loops of an engine have open.
final class RelayTotal: Sendable {
    let connections = Atomic<Int>(0)
    let listeners = Atomic<Int>(0)
    /// Clients that wait for their servers.
    let held = Atomic<Int>(0)

    /// Whether one more connection fits into the bound on descriptors.
    func hasRoom(_ options: RelayOptions) -> Bool {
        let pipes = 2 * options.pipesPerLoop * options.loops
        let connections = connections.load(ordering: .relaxed)
        return 2 * (connections + 1) + listeners.load(ordering: .relaxed) + pipes <= options.maxDescriptors
    }
}
