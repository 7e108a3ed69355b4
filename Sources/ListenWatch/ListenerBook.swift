internal import Linux
internal import Ports
internal import ProcNet

/// The listeners known so far, each with what is known of its process: the pure state that looks are merged into.
struct ListenerBook {
    struct Entry: Equatable {
        var socket: ListeningSocket
        var inode: UInt64
        /// The descriptor through which `socket.process` was confirmed.
        var holder: SocketHolder?
        /// How often the scanner may still look for the holder; some sockets, such as the kernel's own, have none.
        var scansLeft = Self.mostScans

        fileprivate static let mostScans = 3
    }

    private(set) var entries: [ListeningSocket.Key: Entry] = [:]

    /// How many entries each port has.
    private var ports: [PortNumber: Int] = [:]

    /// Whether any listener of this port is known.
    func knows(_ port: PortNumber) -> Bool { ports[port] != nil }

    /// All sockets, in no order.
    var sockets: [ListeningSocket] { entries.values.map(\.socket) }

    /// The listeners of a range as they were last seen.
    func observed(in range: PortRange) -> [ObservedListener] {
        entries.values.lazy.filter { range.contains($0.socket.port) }.map {
            ObservedListener(socket: $0.socket, inode: $0.inode)
        }
    }

    /// Replaces what is known of the ports in `coverage` by `rows`, a whole answer for them.
    ///
    /// `hint` explains a new socket. Returns the keys that appeared, and whether anything changed at all.
    mutating func replace(
        _ rows: [ObservedListener], in coverage: PortRange, hint: (ListeningSocket) -> ListenHint?
    ) -> (appeared: [ListeningSocket.Key], changed: Bool) {
        var seen: [ListeningSocket.Key: ObservedListener] = [:]
        for row in rows where coverage.contains(row.socket.port) {
            let key = row.socket.key
            // Of REUSEPORT sockets, which share a key, the one already known stays the representative.
            if seen[key] == nil || entries[key]?.inode == row.inode { seen[key] = row }
        }
        var appeared: [ListeningSocket.Key] = []
        var changed = false
        for key in Array(entries.keys) where coverage.contains(key.port) && seen[key] == nil {
            remove(key)
            changed = true
        }
        for (key, row) in seen {
            if let old = entries[key], old.inode == row.inode, old.socket.ipv6Only == row.socket.ipv6Only {
                continue
            }
            add(row, hint(row.socket))
            appeared.append(key)
            changed = true
        }
        return (appeared, changed)
    }

    /// Adds one socket that a look-up found; a known key stays as it is. Returns its key when it is new.
    mutating func add(found row: ObservedListener, by hint: ListenHint) -> ListeningSocket.Key? {
        guard entries[row.socket.key] == nil else { return nil }
        add(row, hint)
        return row.socket.key
    }

    /// Records the confirmed process of a socket; without effect when the key has another socket by now.
    mutating func attribute(_ key: ListeningSocket.Key, inode: UInt64, to holder: SocketHolder?) -> Bool {
        guard var entry = entries[key], entry.inode == inode, entry.holder != holder else { return false }
        entry.holder = holder
        entry.scansLeft = Entry.mostScans
        entry.socket.process = holder?.process
        entries[key] = entry
        return true
    }

    /// The unnamed sockets that the scanner may look for, each counted as looked for once more.
    mutating func takeUnnamed() -> [UInt64] {
        var inodes: [UInt64] = []
        for (key, entry) in entries where entry.holder == nil && entry.inode != 0 && entry.scansLeft > 0 {
            entries[key]?.scansLeft -= 1
            inodes.append(entry.inode)
        }
        return inodes
    }

    /// Whether a listener with the hint's address and port is known, on whatever interface.
    func shows(_ hint: ListenHint) -> Bool {
        // Most hints that nothing explains are of ports that only other network namespaces have.
        guard let port = hint.port, knows(port) else { return false }
        if entries[ListeningSocket.Key(port: port, address: hint.address)] != nil { return true }
        return entries.keys.contains { $0.port == port && $0.address == hint.address }
    }

    private mutating func add(_ row: ObservedListener, _ hint: ListenHint?) {
        var socket = row.socket
        socket.listenedAt = hint?.time.nanoseconds
        let replaced = entries.updateValue(Entry(socket: socket, inode: row.inode), forKey: socket.key)
        if replaced == nil { ports[socket.port, default: 0] += 1 }
    }

    private mutating func remove(_ key: ListeningSocket.Key) {
        guard entries.removeValue(forKey: key) != nil, let count = ports[key.port] else { return }
        ports[key.port] = count > 1 ? count - 1 : nil
    }
}
