/// Makes lines of bytes that come in pieces of any size.
struct LineSplitter {
    /// In bytes. A longer line is broken into several: whoever sends it could send one without an end.
    private let longest: Int
    private var partial: [UInt8] = []

    init(longest: Int) { self.longest = longest }

    /// The lines that `bytes` complete, without their ends.
    mutating func add(_ bytes: some Sequence<UInt8>) -> [String] {
        var lines: [String] = []
        for byte in bytes {
            let isEnd = byte == UInt8(ascii: "\n")
            if !isEnd { partial.append(byte) }
            if isEnd || partial.count == longest { lines.append(take()) }
        }
        return lines
    }

    /// What has come behind the last line end, once; nil when that is nothing.
    mutating func takeRest() -> String? { partial.isEmpty ? nil : take() }

    private mutating func take() -> String {
        defer { partial.removeAll(keepingCapacity: true) }
        return String(decoding: partial, as: UTF8.self)
    }
}
