internal import Glibc
internal import Linux
internal import Synchronization

/// All that a program says, on its way to standard output and standard error, with a thread of its own that writes it.
///
/// Posting a line never waits for a reader: a line that finds `capacity` bytes waiting in its lane is dropped. From
/// then on the lane has a gap. Further lines are dropped and counted too, until all that waits has been written; then
/// the gap is told by a line that says how many are missing, and the lane takes lines again. Whoever asked to be told
/// of gaps decides when that is, and can have the state told anew behind that line.
///
/// The two lanes share one order, so lines of both that go to one terminal come as they were posted. Only while the
/// reader of one lane does not read does the other one overtake it.
final class OutputQueue: Sendable {
    enum Lane: Int, CaseIterable, Sendable {
        case output, errors
    }

    private struct LaneState {
        var posted: [OutputItem] = []
        /// Bytes posted and not yet written.
        var waiting = 0
        /// Why nobody can read it any more.
        var failure: SystemError?
        var isBroken: Bool { failure != nil }
        var dropped = 0
        var hasGap: Bool { dropped > 0 }
        var isGapAnnounced = false
        var gapLine: @Sendable (Int) -> String = OutputQueue.gapText
        var gapHandler: (@Sendable () -> Void)?
        /// Of those who wait for its reader to go.
        var farewells: [WriteTicket] = []
    }

    private struct State {
        var lanes = [LaneState](repeating: LaneState(), count: Lane.allCases.count)
        var lastOrder: UInt64 = 0
        var isRunning = false
    }

    private let descriptors: [Int32]
    private let capacity: Int
    private let waker: Result<Waker, SystemError>
    private let state = Mutex(State())

    /// - Parameter descriptors: of the lanes, in their order; not owned, and open as long as the process lives.
    init(descriptors: [Int32] = [STDOUT_FILENO, STDERR_FILENO], capacity: Int = OutputLimits.waitingBytes) {
        self.descriptors = descriptors
        self.capacity = capacity
        waker = Result { () throws(SystemError) in try Waker() }
    }

    // MARK: What comes in

    /// Queues bytes, or drops them when too much waits already; never waits. False when nobody can read the lane any
    /// more.
    func post(_ bytes: [UInt8], to lane: Lane) -> Bool {
        let isBroken = state.withLock { state in
            let number = lane.rawValue
            guard !state.lanes[number].isBroken else { return true }
            if state.lanes[number].hasGap || state.lanes[number].waiting + bytes.count > capacity {
                state.lanes[number].dropped += 1
            } else {
                Self.append(bytes, nil, to: number, &state)
            }
            return false
        }
        if !isBroken { wakeWriter() }
        return !isBroken
    }

    /// Queues bytes, none of which is ever dropped, and returns when they are written; false when nobody can read the
    /// lane any more. A task that is cancelled does not wait on, and true is returned to it.
    func write(_ bytes: [UInt8], to lane: Lane) async -> Bool {
        let ticket = WriteTicket()
        let isBroken = state.withLock { state in
            guard !state.lanes[lane.rawValue].isBroken else { return true }
            Self.append(bytes, ticket, to: lane.rawValue, &state)
            return false
        }
        guard !isBroken else { return false }
        wakeWriter()
        return await ticket.wait()
    }

    /// Returns once a lane cannot be written any more, or the task is cancelled. The reader of a pipe or socket is missed
    /// although nothing is written; all else only when a write fails.
    func untilBroken(_ lane: Lane) async {
        let ticket = WriteTicket()
        let isBroken = state.withLock { state in
            guard !state.lanes[lane.rawValue].isBroken else { return true }
            state.lanes[lane.rawValue].farewells.append(ticket)
            return false
        }
        guard !isBroken else { return }
        wakeWriter()
        _ = await ticket.wait()
    }

    /// Why a lane cannot be written any more; nil while it can.
    func failure(of lane: Lane) -> SystemError? { state.withLock { $0.lanes[lane.rawValue].failure } }

    /// Waits until all that was posted is written, or `limit` has passed.
    func flush(within limit: Duration) async {
        state.withLock { state in
            for number in state.lanes.indices { Self.endGap(number, &state) }
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                for lane in Lane.allCases { _ = await self.write([], to: lane) }
            }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }

    /// Has gaps of a lane told by `line` instead of a sentence, and only when `endGap` is called: `handler` asks for
    /// that, from the writer's thread, once all that was posted before the gap is written.
    func onGap(
        of lane: Lane, line: @escaping @Sendable (Int) -> String, handler: @escaping @Sendable () -> Void
    ) {
        state.withLock { state in
            state.lanes[lane.rawValue].gapLine = line
            state.lanes[lane.rawValue].gapHandler = handler
        }
    }

    /// Queues the line that tells a gap, after which the lane takes lines again.
    func endGap(of lane: Lane) {
        state.withLock { Self.endGap(lane.rawValue, &$0) }
        wakeWriter()
    }

    private static func endGap(_ number: Int, _ state: inout State) {
        guard state.lanes[number].hasGap, !state.lanes[number].isBroken else { return }
        let line = state.lanes[number].gapLine(state.lanes[number].dropped)
        state.lanes[number].dropped = 0
        state.lanes[number].isGapAnnounced = false
        append(Array((line + "\n").utf8), nil, to: number, &state)
    }

    private static func append(
        _ bytes: [UInt8], _ ticket: WriteTicket?, to number: Int, _ state: inout State
    ) {
        state.lastOrder += 1
        state.lanes[number].waiting += bytes.count
        state.lanes[number].posted.append(OutputItem(order: state.lastOrder, bytes: bytes, ticket: ticket))
    }

    @Sendable private static func gapText(_ count: Int) -> String {
        count == 1
            ? "(one line was dropped here, since nobody read it in time)"
            : "(\(count) lines were dropped here, since nobody read them in time)"
    }

    // MARK: The writer's thread

    /// Wakes the writer, and starts it first if need be.
    private func wakeWriter() {
        let mustStart = state.withLock { state in
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if mustStart {
            do throws(SystemError) {
                try DedicatedThread.start(name: "output") { self.run() }
            } catch {
                // The kernel gives no thread: nothing can be said any more, and whoever waits must not do so for ever.
                giveUpAll(error)
            }
        }
        if case .success(let waker) = waker { waker.wake() }
    }

    private func run() {
        let waker: Waker
        do throws(SystemError) {
            waker = try self.waker.get()
        } catch {
            // Nothing can be said.
            return giveUpAll(error)
        }
        var taken = Lane.allCases.map { _ in OutputRun() }
        var watched = descriptors.map(Self.hasReader)
        while true {
            let handlers = take(&taken)
            for handler in handlers { handler() }
            var ready = wait(waker, taken, watched)
            for number in ready where taken[number].isEmpty {
                watched[number] = false
                giveUp(number, [], SystemError(code: EPIPE, operation: "poll"))
            }
            ready.removeAll { taken[$0].isEmpty }
            guard let number = ready.min(by: { taken[$0].order < taken[$1].order }) else { continue }
            let other = taken.indices.filter { $0 != number }.map { taken[$0].order }.min() ?? .max
            write(&taken[number], number, before: other)
        }
    }

    /// Takes over what was posted, ends gaps of lanes that have nothing left, and returns the handlers of those that
    /// want to do so themselves.
    private func take(_ taken: inout [OutputRun]) -> [@Sendable () -> Void] {
        state.withLock { state in
            var handlers: [@Sendable () -> Void] = []
            for number in taken.indices {
                if taken[number].isEmpty, state.lanes[number].posted.isEmpty, state.lanes[number].hasGap {
                    if let handler = state.lanes[number].gapHandler {
                        if !state.lanes[number].isGapAnnounced { handlers.append(handler) }
                        state.lanes[number].isGapAnnounced = true
                    } else {
                        Self.endGap(number, &state)
                    }
                }
                taken[number].append(state.lanes[number].posted)
                state.lanes[number].posted.removeAll(keepingCapacity: true)
            }
            return handlers
        }
    }

    /// Whether poll(2) tells when the other end is closed: POLLERR of a pipe, POLLHUP of a socket. A terminal that hangs
    /// up is not meant: whoever ignores SIGHUP wants to outlive it.
    private static func hasReader(_ descriptor: Int32) -> Bool {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return false }
        return [S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT)
    }

    /// Sleeps until something is posted, a lane that has something to write can take it, or the reader of a watched
    /// lane goes; returns those lanes.
    private func wait(_ waker: Waker, _ taken: [OutputRun], _ watched: [Bool]) -> [Int] {
        let lanes = taken.indices.filter { !taken[$0].isEmpty || watched[$0] }
        var entries = [pollfd(fd: waker.descriptor, events: Int16(POLLIN), revents: 0)]
        entries += lanes.map {
            // poll(2): POLLERR and POLLHUP come unasked.
            pollfd(fd: descriptors[$0], events: taken[$0].isEmpty ? 0 : Int16(POLLOUT), revents: 0)
        }
        guard poll(&entries, nfds_t(entries.count), -1) > 0 else { return [] }
        if entries[0].revents != 0 { waker.clear() }
        return zip(lanes, entries.dropFirst()).filter { $1.revents != 0 }.map { $0.0 }
    }

    /// Writes one piece: whole lines up to the size of a write, none of which is younger than `limit`, but at least
    /// the start of one.
    private func write(_ items: inout OutputRun, _ number: Int, before limit: UInt64) {
        let piece = items.piece(before: limit)
        var written = 0
        if !piece.isEmpty {
            written = piece.withUnsafeBytes { Glibc.write(descriptors[number], $0.baseAddress, $0.count) }
            if written < 0 {
                // EAGAIN: somebody shares the descriptor and made it non-blocking.
                let error = SystemError.current("write")
                guard error.code != EINTR, error.code != EAGAIN else { return }
                return giveUp(number, items.removeAll(), error)
            }
        }
        let tickets = items.remove(written)
        state.withLock { $0.lanes[number].waiting -= written }
        for ticket in tickets { ticket.end(true) }
    }

    /// Ends a lane whose reader has gone.
    private func giveUp(_ number: Int, _ tickets: [WriteTicket], _ error: SystemError) {
        let posted = state.withLock { state in
            state.lanes[number].failure = state.lanes[number].failure ?? error
            defer { (state.lanes[number].posted, state.lanes[number].farewells) = ([], []) }
            return state.lanes[number].posted.compactMap(\.ticket) + state.lanes[number].farewells
        }
        for ticket in tickets + posted { ticket.end(false) }
    }

    private func giveUpAll(_ error: SystemError) {
        for lane in Lane.allCases { giveUp(lane.rawValue, [], error) }
    }
}
