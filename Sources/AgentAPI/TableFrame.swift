package import Ports

/// Tables on a connection of their own: each is the length of a `ListeningPortsResponse`, 4 bytes, big-endian, then the
/// message (docs/forward-protocol.md).
package enum TableFrame {
    /// Bytes of the length.
    package static let headerSize = 4

    /// Why what came is no frame. The connection is of no more use: where the next frame begins is unknown.
    package enum Problem: Error, Hashable, Sendable {
        /// Longer than `AgentLimits.largestMessage`, or with more rows than there can be.
        case tooLarge
        /// No such message.
        case unreadable
    }
}

extension ListenTable {
    /// The table as a frame.
    package var frame: [UInt8] {
        let body = wireBytes
        let length = UInt32(body.count)
        return stride(from: 24, through: 0, by: -8).map { UInt8(truncatingIfNeeded: length >> $0) } + body
    }
}

/// Finds the tables in bytes that come in pieces of any size.
package struct TableFrameReader {
    private var header: UInt32 = 0
    private var headerBytes = 0
    private var body: [UInt8] = []

    package init() {}

    /// Takes bytes up to the end of the next table; nil when that is still to come.
    package mutating func next(from bytes: inout ArraySlice<UInt8>) throws(TableFrame.Problem) -> ListenTable?
    {
        while headerBytes < TableFrame.headerSize {
            guard let byte = bytes.popFirst() else { return nil }
            header = header << 8 | UInt32(byte)
            headerBytes += 1
        }
        guard header <= AgentLimits.largestMessage else { throw .tooLarge }
        let length = Int(header)
        body.reserveCapacity(length)
        let piece = bytes.prefix(length - body.count)
        body += piece
        bytes = bytes.dropFirst(piece.count)
        guard body.count == length else { return nil }
        let message = body
        self = TableFrameReader()
        return try message.withUnsafeBytes { bytes in
            Result { () throws(TableFrame.Problem) in try ListenTable(wireBytes: bytes) }
        }.get()
    }
}
