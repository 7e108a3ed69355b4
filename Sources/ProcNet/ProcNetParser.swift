internal import Linux
package import Ports

/// Which of the kernel's two tables of TCP sockets a text comes from.
package enum ProcNetFamily: String, Sendable, CaseIterable {
    /// `/proc/net/tcp`
    case v4 = "tcp"
    /// `/proc/net/tcp6`
    case v6 = "tcp6"
}

/// Finds the listeners in the text of `/proc/net/tcp` or `/proc/net/tcp6` (proc(5)), fed in pieces of any size.
///
/// The text has a header, then one row for each socket: number, local address, remote address, state, ..., inode in
/// field 9. The kernel prints the table of listeners before that of connections (tcp_get_idx in net/ipv4/tcp_ipv4.c;
/// before Linux 4.4 each listener is followed by its half-open connections, in state SYN_RECV). So the first row in a
/// state that only a connection has ends the listeners, and what follows need not be read.
package struct ProcNetParser: ~Copyable {
    /// The longest row accepted, in bytes; the kernel pads to at most 179.
    static let longestRow = 1024

    private let family: ProcNetFamily
    private let range: PortRange
    private let readsConnections: Bool
    /// No further text can hold a listener; what is fed from now on is ignored.
    private(set) var isPastListeners = false
    private var lineNumber = 0
    /// The start of a row whose end has not been fed yet.
    private var partial: [UInt8] = []
    private var keys: Set<ListeningSocket.Key> = []
    private var found: [ObservedListener] = []

    /// - Parameter readsConnections: look for listeners behind the first connection too, and check every row.
    package init(family: ProcNetFamily, range: PortRange, readsConnections: Bool = false) {
        self.family = family
        self.range = range
        self.readsConnections = readsConnections
    }

    /// Takes the next bytes of the text.
    package mutating func feed(_ bytes: Span<UInt8>) throws(ProcNetError) {
        var start = 0
        for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") {
            if isPastListeners { return }
            if partial.isEmpty {
                try parse(bytes.extracting(start..<index))
            } else {
                try keep(bytes.extracting(start..<index))
                try parsePartial()
            }
            start = index + 1
        }
        if !isPastListeners { try keep(bytes.extracting(start..<bytes.count)) }
    }

    /// Ends the text and returns its listeners in the order of the rows, each key once.
    package consuming func finish() throws(ProcNetError) -> [ObservedListener] {
        if !partial.isEmpty, !isPastListeners { try parsePartial() }
        // Even a system without a socket prints the header, so nothing at all is not an empty table.
        guard lineNumber > 0 else { throw .malformedLine(number: 1) }
        return found
    }

    private mutating func keep(_ bytes: Span<UInt8>) throws(ProcNetError) {
        guard partial.count + bytes.count <= Self.longestRow else {
            throw .malformedLine(number: lineNumber + 1)
        }
        for index in bytes.indices { partial.append(bytes[index]) }
    }

    private mutating func parsePartial() throws(ProcNetError) {
        var row: [UInt8] = []
        swap(&row, &partial)
        try parse(row.span)
    }

    private mutating func parse(_ row: Span<UInt8>) throws(ProcNetError) {
        lineNumber += 1
        guard row.count <= Self.longestRow else { throw .malformedLine(number: lineNumber) }
        var fields = RowCursor()
        if lineNumber == 1 {
            guard fields.next(in: row, equals: "sl") else { throw .malformedLine(number: 1) }
            return
        }
        switch Self.content(row, &fields, family) {
        case nil: throw .malformedLine(number: lineNumber)
        case .connection: isPastListeners = !readsConnections
        case .other: break
        case .listener(let listener):
            guard range.contains(listener.socket.port) else { return }
            if keys.insert(listener.socket.key).inserted { found.append(listener) }
        }
    }

    private enum Row {
        case listener(ObservedListener)
        /// A half-open connection, which can stand between listeners, or a socket that has just been closed.
        case other
        case connection
    }

    /// nil for a malformed row.
    private static func content(
        _ row: Span<UInt8>, _ fields: inout RowCursor, _ family: ProcNetFamily
    ) -> Row? {
        guard fields.skip(1, in: row), let address = fields.address(family, in: row),
            let localPort = fields.hex16(after: ":", in: row),
            fields.skip(1, in: row), let state = fields.hex8(in: row)
        else { return nil }
        switch TCPState(rawValue: state) {
        case .listen: break
        case .synReceived, .close: return .other
        case nil: return .connection
        }
        // tx_queue:rx_queue, tr:tm->when, retrnsmt, uid, timeout
        guard let port = PortNumber(localPort), fields.skip(5, in: row), let inode = fields.decimal(in: row)
        else { return nil }
        return .listener(
            ObservedListener(socket: ListeningSocket(address: address, port: port), inode: inode))
    }
}

/// A `/proc/net` text that is not what the kernel prints, or that could not be read.
package enum ProcNetError: Error, Hashable, Sendable {
    /// Counted from 1, the header included.
    case malformedLine(number: Int)
    /// `path` could not be opened or read: the errno value.
    case unreadable(path: String, code: Int32)
}
