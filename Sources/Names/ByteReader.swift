/// Takes big-endian numbers and pieces off the front of bytes.
struct ByteReader {
    /// They end too early.
    struct Short: Error {}

    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isEmpty: Bool { rest.isEmpty }
    var count: Int { rest.count }

    mutating func take(_ count: Int) throws(Short) -> ArraySlice<UInt8> {
        guard count >= 0, count <= rest.count else { throw Short() }
        defer { rest = rest.dropFirst(count) }
        return rest.prefix(count)
    }

    mutating func number(bytes count: Int) throws(Short) -> Int {
        try take(count).reduce(0) { $0 << 8 | Int($1) }
    }

    /// A piece behind its length.
    mutating func takeVector(lengthBytes: Int) throws(Short) -> ArraySlice<UInt8> {
        try take(number(bytes: lengthBytes))
    }
}
