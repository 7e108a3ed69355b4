internal import Linux
internal import Ports
internal import ProcNet

/// Finds the process behind each listener and keeps that knowledge true.
///
/// A new listener goes through up to two stages. `name` tries a few descriptors of the processes whose events explain it, before
/// the table is published. What that leaves, `findRest` gives to the scanner, which reads all descriptors on a thread of its
/// own, once nothing has appeared for a while: in a storm most are gone by then. `recheck` undoes what is no longer true: a
/// process may hand its socket to a child, or become another program by execve(2), without an event.
struct ProcessNaming {
    /// New listeners whose process is named before they are published, each by this many descriptors at most.
    private static let namedAtOnce = 2
    private static let descriptorsAtOnce: Int32 = 64
    /// How long the second stage waits.
    private static let restPause = Duration.milliseconds(10)

    private struct Unnamed {
        var key: ListeningSocket.Key
        var inode: UInt64
        /// The processes that may hold it, likeliest first.
        var callers: [Int32]
    }

    private let holders: SocketHolders
    private let scanner: ProcessScanner
    private var unnamed: [Unnamed] = []
    /// Processes whose descriptors were searched in vain just now: they have many, or make sockets only to close them.
    private var slowCallers: Set<Int32> = []
    private var restAt = MonotonicTime.now

    /// - Parameters:
    ///   - processRoot: the directory of processes.
    ///   - waker: woken when the scanner has found something.
    init(processRoot: String, waker: Waker) {
        holders = SocketHolders(root: processRoot)
        scanner = ProcessScanner(holders: holders, waker: waker)
    }

    /// When `findRest` has work; nil when it has none.
    var due: MonotonicTime? { unnamed.isEmpty ? nil : restAt }

    func stop() { scanner.stop() }

    /// Names new listeners as far as that is quickly done. `callers` gives the processes that may hold a socket,
    /// likeliest first.
    mutating func name(
        _ keys: [ListeningSocket.Key], in book: inout ListenerBook, callers: (ListeningSocket) -> [Int32]
    ) {
        for (index, key) in keys.enumerated() {
            guard let entry = book.entries[key], entry.inode != 0 else { continue }
            let callers = callers(entry.socket)
            let mayTry = index < Self.namedAtOnce && !callers.contains(where: slowCallers.contains)
            if mayTry, let holder = holder(of: entry.inode, among: callers, Self.descriptorsAtOnce) {
                _ = book.attribute(key, inode: entry.inode, to: holder)
            } else {
                unnamed.append(Unnamed(key: key, inode: entry.inode, callers: callers))
                slowCallers.formUnion(callers)
            }
        }
        if !keys.isEmpty { restAt = .now + Self.restPause }
    }

    /// Has the scanner find the processes of what is still there, now that the table is out.
    mutating func findRest(in book: ListenerBook) {
        let alive = unnamed.filter { book.entries[$0.key]?.inode == $0.inode }
        scanner.find(ProcessScanner.Wanted(alive.map { ($0.inode, $0.callers) }) { first, _ in first })
        unnamed = []
        slowCallers = []
    }

    /// Names the listeners that were there before the watcher: before this returns, or by the scanner.
    func nameOlder(in book: inout ListenerBook, atOnce: Bool) {
        let wanted = Self.wanted(in: &book)
        if atOnce {
            _ = attribute(ProcessScanner.scan(holders, for: wanted), in: &book)
        } else {
            scanner.find(wanted)
        }
    }

    /// Takes over what the scanner has found. Returns whether the book changed.
    func takeFindings(into book: inout ListenerBook) -> Bool {
        attribute(scanner.takeFindings(), in: &book)
    }

    /// Forgets processes that no longer hold their socket, reads the names of the others anew, and looks again for
    /// those not found, since a process may have come by its socket a moment later. Returns whether the book changed.
    func recheck(_ book: inout ListenerBook) -> Bool {
        var changed = false
        for (key, entry) in book.entries {
            guard let holder = entry.holder else { continue }
            let holds = holders.stillHolds(holder, inode: entry.inode)
            let now =
                holds ? holders.confirmed(pid: holder.process.pid, descriptor: holder.descriptor) : nil
            changed = book.attribute(key, inode: entry.inode, to: now) || changed
        }
        scanner.find(Self.wanted(in: &book))
        return changed
    }

    private func holder(of inode: UInt64, among callers: [Int32], _ limit: Int32) -> SocketHolder? {
        for pid in callers {
            if let holder = holders.holder(of: inode, pid: pid, limit: limit) { return holder }
        }
        return nil
    }

    private func attribute(_ findings: [ProcessScanner.Finding], in book: inout ListenerBook) -> Bool {
        guard !findings.isEmpty else { return false }
        let byInode = Dictionary(findings.map { ($0.inode, $0.holder) }) { first, _ in first }
        var changed = false
        for (key, entry) in book.entries where entry.holder == nil {
            guard let holder = byInode[entry.inode], holders.stillHolds(holder, inode: entry.inode) else {
                continue
            }
            changed = book.attribute(key, inode: entry.inode, to: holder) || changed
        }
        return changed
    }

    private static func wanted(in book: inout ListenerBook) -> ProcessScanner.Wanted {
        ProcessScanner.Wanted(book.takeUnnamed().map { ($0, []) }) { first, _ in first }
    }
}
