/// The answer to `CONNECT <port>` on a hybrid vsock socket: one line, `OK <number>`.
package enum HybridAnswer: Equatable, Sendable {
    /// The line has not ended yet.
    case incomplete
    case accepted
    /// Something else than `OK <number>`, or too long; what was said, without the line's end.
    case refused(String)

    /// Bytes; no known implementation answers with a longer line.
    package static let longestLine = 32

    /// Judges the bytes received so far, which must not reach beyond the line's end.
    package init(_ bytes: [UInt8]) {
        guard let last = bytes.last else {
            self = .incomplete
            return
        }
        guard last == UInt8(ascii: "\n") else {
            let text = String(decoding: bytes, as: UTF8.self)
            self = bytes.count < Self.longestLine ? .incomplete : .refused(text)
            return
        }
        let line = String(decoding: bytes.dropLast(), as: UTF8.self)
        self = line.hasPrefix("OK ") && UInt32(line.dropFirst(3)) != nil ? .accepted : .refused(line)
    }
}
