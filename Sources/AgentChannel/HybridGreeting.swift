/// The answer to `CONNECT <port>` on a hybrid vsock socket: one line, `OK <number>`.
package enum HybridGreeting {
    /// Bytes; no known implementation answers with a longer line.
    package static let longestLine = 32

    package enum Answer: Equatable, Sendable {
        /// The line has not ended yet.
        case incomplete
        case accepted
        /// Something else than `OK <number>`, or too long; what was said, without the line's end.
        case refused(String)
    }

    /// Judges the bytes received so far, which must not reach beyond the line's end.
    package static func parse(_ bytes: [UInt8]) -> Answer {
        guard let last = bytes.last else { return .incomplete }
        guard last == UInt8(ascii: "\n") else {
            return bytes.count < longestLine ? .incomplete : .refused(String(decoding: bytes, as: UTF8.self))
        }
        let line = String(decoding: bytes.dropLast(), as: UTF8.self)
        guard line.hasPrefix("OK "), UInt32(line.dropFirst(3)) != nil else { return .refused(line) }
        return .accepted
    }
}
