internal import Linux
internal import Ports

/// Which ports need another look, and when: the pure schedule between hints and questions to the kernel.
///
/// A hint marks its port (`mark`). `look` then offers the cheapest question that covers what is due: who owns these
/// addresses, a dump of a range, or a dump of everything. The answer is reported with `answered`: a hint whose socket
/// was visible is settled. One whose socket was not is due again after the next of `retries`, because an event comes
/// before its socket can be found, and is dropped after the last. A close is never taken for "the port is free": it
/// asks for two dumps, and the listener goes when a dump no longer has it.
struct DirtyPorts {
    /// A question to the kernel.
    enum Look: Equatable {
        /// Ask for the owner of each hint's address and port.
        case owners([ListenHint])
        case ports(PortRange)
        case all
    }

    /// How long after each fruitless look the next one comes. The event precedes the socket's place in the
    /// listening hash, so a first look on another CPU can miss it (net/ipv4/inet_connection_sock.c). A socket
    /// that the last one misses is another network namespace's, or has gone.
    static let retries: [Duration] = [
        .zero, .microseconds(20), .microseconds(50), .microseconds(200), .milliseconds(1), .milliseconds(5),
        .milliseconds(50),
    ]
    /// Where `retries` goes on for a socket that the first look missed and another network namespace's thread
    /// made: most likely it is that namespace's, so only the last look is worth its wake-up.
    private static let lateRetries = retries.count - 1
    /// The last looks of such sockets are made together, at multiples of this: guests with containers see many.
    private static let foreignStep = Duration.milliseconds(50)
    /// When to look at everything again after events may have been lost.
    static let trailing: [Duration] = [.milliseconds(5), .milliseconds(50)]
    /// When to look for a socket whose port is chosen during listen(2).
    static let unbound: [Duration] = [.zero, .milliseconds(1), .milliseconds(5), .milliseconds(50)]
    /// Hints remembered for one port, and hints without a port.
    private static let memory = 8

    /// A second look after a close finds a successor that the first one came too early for, although its own hint
    /// was settled by the predecessor's sight.
    static let afterClose = Duration.milliseconds(5)

    private struct Entry {
        var opened: [ListenHint] = []
        /// How many dumps the closes seen so far still ask for.
        var dumpsWanted = 0
        var attempt = 0
        var due: MonotonicTime
    }

    private var entries: [PortNumber: Entry] = [:]
    private var fullLooks: [MonotonicTime] = []
    /// Hints without a port, newest last: any of them may explain a new socket.
    private(set) var unboundHints: [ListenHint] = []

    var isEmpty: Bool { entries.isEmpty && fullLooks.isEmpty }

    /// When the next look is due.
    var nextDue: MonotonicTime? {
        let port = entries.values.lazy.map(\.due).min()
        guard let full = fullLooks.first else { return port }
        return min(port ?? full, full)
    }

    /// Asks for what a hint makes necessary. A close concerns only a port that is known to listen: of any other
    /// port there is nothing to remove, and what opens there has a hint of its own.
    mutating func mark(
        _ hint: ListenHint, now: MonotonicTime, isKnown: (PortNumber) -> Bool = { _ in true }
    ) {
        guard let port = hint.port else {
            if hint.kind == .opened {
                unboundHints.append(hint)
                if unboundHints.count > Self.memory { unboundHints.removeFirst() }
            }
            lookAtAll(after: Self.unbound, now: now)
            return
        }
        if hint.kind == .closed, !isKnown(port) { return }
        var entry = entries[port] ?? Entry(due: now)
        entry.due = now
        switch hint.kind {
        case .closed:
            entry.dumpsWanted = 2
        case .opened:
            entry.attempt = 0
            entry.opened.removeAll { $0.address == hint.address }
            if entry.opened.count == Self.memory { entry.opened.removeFirst() }
            entry.opened.append(hint)
        }
        entries[port] = entry
    }

    /// Asks for looks at everything after these delays. A storm of calls keeps the earliest and the latest.
    mutating func lookAtAll(after delays: [Duration], now: MonotonicTime) {
        fullLooks = Set(fullLooks + delays.map { now + $0 }).sorted()
        while fullLooks.count > 4 { fullLooks.remove(at: 1) }
    }

    /// The best look for what is due; nil when nothing is, or when it must wait for `mayDump`.
    ///
    /// `lookups` is how many single questions may be asked before a dump is cheaper.
    func look(now: MonotonicTime, mayDump: Bool, lookups: Int) -> Look? {
        if mayDump, let first = fullLooks.first, first <= now { return .all }
        var hints: [ListenHint] = []
        var lower: PortNumber?
        var upper: PortNumber?
        var needsDump = false
        for (port, entry) in entries where entry.due <= now {
            lower = min(lower ?? port, port)
            upper = max(upper ?? port, port)
            // A second miss may be a socket bound to a device, which only a dump shows.
            needsDump = needsDump || entry.dumpsWanted > 0 || (entry.attempt > 0 && mayDump)
            if hints.count <= lookups { hints += entry.opened }
        }
        guard let lower, let upper, let range = PortRange(lower, upper) else { return nil }
        if !needsDump, hints.count <= lookups { return .owners(hints) }
        return mayDump ? .ports(range) : nil
    }

    /// Notes that `look` has been answered: what `isVisible` is settled, the rest is tried again later, less often
    /// what `isForeign`, and given up in the end.
    mutating func answered(
        _ look: Look, now: MonotonicTime, isForeign: (ListenHint) -> Bool = { _ in false },
        isVisible: (ListenHint) -> Bool
    ) {
        switch look {
        case .owners(let hints):
            for port in Set(hints.compactMap(\.port)) {
                settle(port, dumped: false, now: now, isForeign, isVisible)
            }
        case .ports(let range):
            for port in Array(entries.keys) where range.contains(port) {
                settle(port, dumped: true, now: now, isForeign, isVisible)
            }
        case .all:
            fullLooks.removeAll { $0 <= now }
            for port in Array(entries.keys) { settle(port, dumped: true, now: now, isForeign, isVisible) }
            if fullLooks.isEmpty { unboundHints.removeAll() }
        }
    }

    /// The hint that explains a socket's appearance.
    func hint(for socket: ListeningSocket) -> ListenHint? {
        entries[socket.port]?.opened.last { $0.address == socket.address }
    }

    /// The processes whose events can explain a new socket, likeliest first, each once.
    func callers(of socket: ListeningSocket) -> [Int32] {
        var callers: [Int32] = []
        let hints = [hint(for: socket)] + unboundHints.reversed()
        for case let pid? in hints.map({ $0?.pid }) where !callers.contains(pid) { callers.append(pid) }
        return callers
    }

    private mutating func settle(
        _ port: PortNumber, dumped: Bool, now: MonotonicTime, _ isForeign: (ListenHint) -> Bool,
        _ isVisible: (ListenHint) -> Bool
    ) {
        guard var entry = entries[port] else { return }
        entry.opened.removeAll(where: isVisible)
        if entry.due <= now {
            if dumped, entry.dumpsWanted > 0 { entry.dumpsWanted -= 1 }
            entry.due = now + Self.afterClose
            if entry.attempt == Self.retries.count { entry.opened.removeAll() }
            if !entry.opened.isEmpty {
                let isForeign = entry.opened.allSatisfy(isForeign)
                if isForeign { entry.attempt = max(entry.attempt, Self.lateRetries) }
                entry.due = now + Self.retries[entry.attempt]
                if isForeign { entry.due = entry.due.roundedUp(to: Self.foreignStep) }
                entry.attempt += 1
            }
        }
        entries[port] = entry.opened.isEmpty && entry.dumpsWanted == 0 ? nil : entry
    }
}

extension MonotonicTime {
    fileprivate func roundedUp(to step: Duration) -> MonotonicTime {
        let step = step.wholeNanoseconds
        return MonotonicTime(nanoseconds: (nanoseconds + step - 1) / step * step)
    }
}
