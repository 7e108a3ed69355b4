internal import FoundationEssentials

/// Values as lines of JSON, and back.
enum ControlLine {
    static func bytes(_ value: some Encodable) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Strings, numbers and lists of them always encode.
        return Array((try? encoder.encode(value)) ?? Data()) + [UInt8(ascii: "\n")]
    }

    /// nil when it is not what it should be.
    static func value<Value: Decodable>(_ type: Value.Type, from line: some Sequence<UInt8>) -> Value? {
        try? JSONDecoder().decode(type, from: Data(line))
    }
}

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
