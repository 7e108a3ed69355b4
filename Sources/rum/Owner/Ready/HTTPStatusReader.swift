/// Finds the status in the first bytes of an HTTP/1 answer (RFC 9112, 4); interim answers, 1xx, are passed over.
struct HTTPStatusReader {
    enum Result: Equatable {
        case incomplete
        case status(Int)
        case notHTTP
    }

    /// Bytes of interim answers and the line of the final one.
    private static let longest = 16 << 10
    private var bytes: [UInt8] = []

    mutating func add(_ new: some Sequence<UInt8>) -> Result {
        bytes += new
        while true {
            guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
                return couldBegin && bytes.count <= Self.longest ? .incomplete : .notHTTP
            }
            guard let status = Self.status(bytes[..<end]) else { return .notHTTP }
            // 101 is final: the protocol changes behind it.
            guard (100..<200).contains(status), status != 101 else { return .status(status) }
            guard let rest = Self.endOfHeader(bytes) else {
                return bytes.count <= Self.longest ? .incomplete : .notHTTP
            }
            bytes.removeFirst(rest)
        }
    }

    private var couldBegin: Bool {
        zip(bytes, "HTTP/1.".utf8).allSatisfy { $0 == $1 }
    }

    /// `HTTP/1.x SSS` and then a space or the end.
    private static func status(_ line: ArraySlice<UInt8>) -> Int? {
        let words = line.split(separator: UInt8(ascii: " "), maxSplits: 2, omittingEmptySubsequences: false)
        guard words.count >= 2, words[0].starts(with: "HTTP/1.".utf8) else { return nil }
        let digits = String(decoding: words[1].prefix { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
        guard digits.utf8.count == 3, let status = Int(digits), status >= 100 else { return nil }
        return status
    }

    /// The index behind the empty line.
    private static func endOfHeader(_ bytes: [UInt8]) -> Int? {
        var isLineEmpty = false
        for (index, byte) in bytes.enumerated() {
            if byte == UInt8(ascii: "\n") {
                if isLineEmpty { return index + 1 }
                isLineEmpty = true
            } else if byte != UInt8(ascii: "\r") {
                isLineEmpty = false
            }
        }
        return nil
    }
}
