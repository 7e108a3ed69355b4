internal import Synchronization

/// Has the clients of a forward wait while its server is away, instead of being reset: accepted, unread, without a tunnel.
/// What they have sent stays in the kernel; or, where the agent says that a server was lost before a byte had reached it, in
/// `RelayFlow.kept`. One object serves all listeners of a forward; safe from any thread.
///
/// A client waits at most `time` in all. The oldest one of each loop dials now and then, and when bytes of one flow, or
/// `retry` is called, all do.
package final class RelayHold: Sendable {
    /// Clients of one forward that may wait at once; the others are reset.
    package static let mostClients = 256

    /// The longest that a client waits.
    package let time: Duration
    private let count = Atomic<Int>(0)
    private let ended = Atomic(false)
    private let retries = Atomic<UInt64>(0)

    package init(time: Duration) { self.time = time }

    /// Clients that wait, or have waited and have not said anything yet.
    package var waiting: Int { count.load(ordering: .relaxed) }

    /// Nobody waits from now on.
    package func end() { ended.store(true, ordering: .relaxed) }

    var isOver: Bool { ended.load(ordering: .relaxed) }

    /// Counts the calls of `retry`: a dial that failed before the last of them says nothing about now.
    var turn: UInt64 { retries.load(ordering: .relaxed) }

    /// Has every client dial once more, as soon as its loop comes to it.
    func retry() { retries.add(1, ordering: .relaxed) }

    /// Takes a place for a client; false when there is none.
    func enter() -> Bool {
        guard count.add(1, ordering: .relaxed).newValue <= Self.mostClients else {
            leave()
            return false
        }
        return true
    }

    func leave() { count.subtract(1, ordering: .relaxed) }
}

/// What a connection knows of its wait.
struct ClientWait {
    /// How long it may last: CLOCK_MONOTONIC nanoseconds, counted from when it began first.
    var until = UInt64.max
    /// It has a place among those that wait.
    var isHeld = false
    /// What it has sent has come to nobody before: that bytes go out doesn't show that its server is back.
    var isDoubtful = false
    /// `RelayHold.turn` when the present tunnel was dialled.
    var dialTurn: UInt64 = 0

    /// Others may be told once its server is known to be back.
    var isOpen: Bool { isHeld || isDoubtful }
}

/// The clients of one loop that wait for their servers, in the order in which they came.
struct HeldClients {
    private(set) var tokens: [EventToken] = []
    /// When the next ones dial: CLOCK_MONOTONIC nanoseconds; `.max` while none waits.
    private(set) var nextTry = UInt64.max

    mutating func add(_ token: EventToken, tryAt time: UInt64) {
        tokens.append(token)
        nextTry = min(nextTry, time)
    }

    /// Has those that may dial do so in this turn of the loop.
    mutating func tryNow() { if !tokens.isEmpty { nextTry = 0 } }

    /// All of them, of which some have ended since; whoever still waits is added again.
    mutating func take() -> [EventToken] {
        defer { (tokens, nextTry) = ([], .max) }
        return tokens
    }
}
