/// The records in which bytes travel through a tunnel: 4 bytes of length, big-endian, then so many bytes of the stream.
/// A length of 0 is the last record: the direction has ended in order. Nothing follows it but, where the tunnel is kept, one
/// byte from the agent: it is through with both directions, and the tunnel may carry another connection.
///
/// A direction without its last record was cut off. So a reset, a killed program and an orderly end look different over
/// every kind of socket, although unix and vsock sockets have no RST and hybrid ones only a close.
enum RelayRecord {
    static let headerSize = 4
    /// Bytes; a longer record is an error of the peer.
    static let longest = 1 << 24
    /// The byte behind the last record of a tunnel that is free again.
    static let freeMark: UInt8 = 1
    /// In place of a length, from the agent alone, and its last word: the server was lost before a byte had reached it.
    static let undelivered: UInt32 = 1 << 31 | 1

    /// The record of so many bytes; at least one.
    static func record(of bytes: [UInt8]) -> [UInt8] {
        withUnsafeBytes(of: UInt32(truncatingIfNeeded: bytes.count).bigEndian) { Array($0) } + bytes
    }

    /// Writes the header to the first 4 bytes of `memory`.
    static func writeHeader(_ count: Int, to memory: UnsafeMutableRawBufferPointer) {
        memory.storeBytes(of: UInt32(truncatingIfNeeded: count).bigEndian, as: UInt32.self)
    }
}

/// Finds the records in the bytes of a tunnel, which come in pieces of any size.
struct RecordReader {
    enum Problem: Error { case tooLong, behindTheEnd, undelivered }

    private var bytesLeft: Int32 = 0
    private var header: UInt32 = 0
    private var headerBytes: UInt8 = 0
    /// The last record has been read.
    private(set) var hasEnded = false
    /// The tunnel is free again, as has been read behind it.
    private(set) var isFree = false
    /// The peer has said `RelayRecord.undelivered`.
    private(set) var saysUndelivered = false

    /// Bytes of the present record still to come.
    var left: Int { Int(bytesLeft) }

    /// Bytes of a header that come before anything else.
    var headerLeft: Int { left > 0 || hasEnded ? 0 : RelayRecord.headerSize - Int(headerBytes) }

    /// Takes bytes of a header, as far as one is due, or the byte behind the last one; returns how many.
    mutating func takeHeader(_ bytes: UnsafeRawBufferPointer) throws(Problem) -> Int {
        if hasEnded {
            guard !isFree, bytes.first == RelayRecord.freeMark else { throw .behindTheEnd }
            isFree = true
            return 1
        }
        let count = min(headerLeft, bytes.count)
        for byte in bytes.prefix(count) { header = header << 8 | UInt32(byte) }
        headerBytes += UInt8(count)
        if headerBytes == RelayRecord.headerSize {
            saysUndelivered = header == RelayRecord.undelivered
            guard header <= RelayRecord.longest else { throw saysUndelivered ? .undelivered : .tooLong }
            bytesLeft = Int32(header)
            hasEnded = header == 0
            (header, headerBytes) = (0, 0)
        }
        return count
    }

    /// Notes that so many bytes of the present record have been taken.
    mutating func consume(_ count: Int) { bytesLeft -= Int32(count) }
}

/// What a flow into a tunnel owes the record it has begun.
struct RecordWriter {
    private var bytesLeft: Int32 = 0
    private var headerBytes: UInt8 = 0
    private var header: UInt64 = 0

    /// Bytes that the present record's header has announced and that have not been taken from the source.
    var left: Int { Int(bytesLeft) }

    /// Header bytes that the sink has not taken yet.
    var headerLeft: Int { Int(headerBytes) }

    /// Begins a record of this length; its header goes elsewhere.
    mutating func begin(_ count: Int) { bytesLeft = Int32(count) }

    /// Leaves the last `count` bytes of a record's header to be sent before anything else.
    mutating func owe(headerOf length: Int, last count: Int = RelayRecord.headerSize) {
        header = UInt64(length)
        headerBytes = UInt8(count)
    }

    /// Leaves the last record to be sent, and behind it that the tunnel is free again.
    mutating func oweEnd(isFree: Bool) {
        header = isFree ? UInt64(RelayRecord.freeMark) : 0
        headerBytes = UInt8(RelayRecord.headerSize) + (isFree ? 1 : 0)
    }

    /// Hands the header bytes that are owed to `send`, which returns how many it took.
    mutating func payHeader(_ send: (UnsafeRawBufferPointer) -> Transfer) -> Transfer {
        let result = withUnsafeBytes(of: header.bigEndian) { bytes in
            send(UnsafeRawBufferPointer(rebasing: bytes.suffix(Int(headerBytes))))
        }
        if case .moved(let count) = result { headerBytes -= UInt8(count) }
        return result
    }

    /// Notes that so many bytes of the present record have been taken from the source.
    mutating func consume(_ count: Int) { bytesLeft -= Int32(count) }
}
