/// Takes whole lines from the front of bytes that come in pieces.
struct LineBuffer {
    private var bytes: [UInt8] = []
    /// Bytes in which no line end was found.
    private var searched = 0
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// The sender does not keep to the limit.
    var isOverfull: Bool { searched >= limit }

    mutating func add(_ more: some Sequence<UInt8>) { bytes.append(contentsOf: more) }

    /// The next line without its end; nil when it is not complete.
    mutating func next() -> [UInt8]? {
        guard let end = bytes[searched...].firstIndex(of: UInt8(ascii: "\n")) else {
            searched = bytes.count
            return nil
        }
        defer {
            bytes.removeFirst(end + 1)
            searched = 0
        }
        return Array(bytes[..<end])
    }
}
