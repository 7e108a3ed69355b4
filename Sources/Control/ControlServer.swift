internal import Glibc
package import Linux
internal import Synchronization

/// The socket on which a machine's owner answers. It also keeps a second owner away.
///
/// One thread moves all bytes and waits for no client; what clients ask is answered in tasks.
package final class ControlServer: Sendable {
    /// Answers one request with messages to the peer. It is cancelled when the client goes.
    package typealias Handler = @Sendable (ControlRequest, ControlPeer) async -> Void

    private struct Call: Sendable {
        let peer: ControlPeer
        let line: [UInt8]
    }

    private let path: String
    private let listener: OwnedDescriptor
    /// The folder, locked until this process ends (flock(2)). Two owners that start together both find a stale socket,
    /// and each could replace the other's; while the lock is held the socket's file can be nobody else's.
    private let folder: OwnedDescriptor
    private let waker: Waker
    private let hello: ControlHello
    private let mustEnd = Atomic(false)
    private let calls = AsyncStream<Call>.makeStream()

    /// Binds the socket.
    ///
    /// - Throws: EADDRINUSE when another owner serves it.
    package init(path: String, hello: ControlHello) throws(SystemError) {
        self.path = path
        self.hello = hello
        let parent = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
        folder = OwnedDescriptor(
            owning: try SystemError.check("open", open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)))
        guard try folder.lock() else { throw SystemError(code: EADDRINUSE, operation: "flock") }
        waker = try Waker()
        listener = try ServiceSocket.listen(on: .unix(path: path))
    }

    /// Answers until the task is cancelled. Then the socket's file is gone, and what was sent to clients before has
    /// reached those that read.
    ///
    /// - Parameter tell: gets why clients have to wait, on the server's thread; once a time.
    package func serve(
        tell: @escaping @Sendable (SystemError) -> Void = { _ in }, _ handler: @escaping Handler
    ) async throws(SystemError) {
        let over = AsyncStream<Void>.makeStream()
        try DedicatedThread.start(name: "control") {
            self.run(AcceptPause(tell: tell))
            over.continuation.finish()
        }
        await withDiscardingTaskGroup { group in
            for await call in calls.stream {
                group.addTask { await Self.answer(call, handler) }
            }
            group.cancelAll()
        }
        ServiceSocket.remove(.unix(path: path))
        mustEnd.store(true, ordering: .releasing)
        waker.wake()
        // In a task of its own, since this one is cancelled.
        await Task { for await _ in over.stream {} }.value
    }

    private static func answer(_ call: Call, _ handler: @escaping Handler) async {
        guard let request = ControlLine.value(ControlRequest.self, from: call.line) else {
            call.peer.send(.error(.unknownRequest))
            return call.peer.finish()
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await handler(request, call.peer) }
            group.addTask { await call.peer.untilGone() }
            await group.next()
            group.cancelAll()
        }
        call.peer.finish()
    }

    // MARK: The thread

    private func run(_ pause: consuming AcceptPause) {
        var peers: [ControlPeer] = []
        while !mustEnd.load(ordering: .acquiring) {
            let rest = pause.rest
            if step(&peers, listens: rest == nil, until: rest.map { .now + $0 }) { accept(&peers, &pause) }
        }
        let end = ContinuousClock.now + ControlLimits.farewellTime
        while peers.contains(where: \.hasWaiting), ContinuousClock.now < end {
            _ = step(&peers, listens: false, until: end)
        }
        for peer in peers { peer.end() }
    }

    /// Waits until there is something to do, and does it; true when there are new clients.
    private func step(
        _ peers: inout [ControlPeer], listens: Bool, until limit: ContinuousClock.Instant?
    ) -> Bool {
        let now = ContinuousClock.now
        var deadline = limit
        var entries = [
            pollfd(fd: waker.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: listens ? listener.rawValue : -1, events: Int16(POLLIN), revents: 0),
        ]
        peers = peers.filter { peer in
            guard let interest = peer.interest(now) else { return false }
            entries.append(pollfd(fd: peer.socket.rawValue, events: interest.events, revents: 0))
            if let time = interest.deadline { deadline = min(deadline ?? time, time) }
            return true
        }
        let pause = deadline.map { Int32(max(0, ($0 - now) / .milliseconds(1)) + 1) } ?? -1
        guard poll(&entries, nfds_t(entries.count), pause) > 0 else { return false }
        if entries[0].revents != 0 { waker.clear() }
        for (peer, entry) in zip(peers, entries.dropFirst(2)) {
            if entry.revents & Int16(POLLOUT) != 0 { peer.write() }
            if entry.revents & ~Int16(POLLOUT) != 0, let line = peer.read() {
                calls.continuation.yield(Call(peer: peer, line: line))
            }
        }
        return entries[1].revents != 0
    }

    private func accept(_ peers: inout [ControlPeer], _ pause: inout AcceptPause) {
        while let socket = pause.next(from: listener.rawValue) {
            // The folder keeps others out already; this holds even where somebody has opened it.
            guard PeerUser.isMineOrRoot(socket.rawValue) else { continue }
            let peer = ControlPeer(socket) { [waker] in waker.wake() }
            peer.send(.hello(hello))
            peers.append(peer)
            if peers.count > ControlLimits.clients {
                peer.send(.error(.tooManyClients))
                peer.finish()
            }
            // More than that are not even told, so that nobody can take all descriptors.
            if peers.count > 2 * ControlLimits.clients { peers.removeLast() }
        }
    }
}

extension ControlRefusal {
    static let unknownRequest = ControlRefusal(
        message: "the process that forwards the ports does not know this request",
        hint: "it may be of an older version: `rum up -d` starts it again with this one")
    static let tooManyClients = ControlRefusal(
        message: "\(ControlLimits.clients) commands ask about this machine already",
        hint: "end some of them, such as `rum ports --watch`")
}
