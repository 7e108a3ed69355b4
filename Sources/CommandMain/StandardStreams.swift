internal import Glibc

/// Standard output cannot be written any more: its reader went away, or its disk is full.
package struct BrokenOutput: Error {}

/// Data for other programs. Each call is one write(2), so lines of several tasks never mix.
package enum StandardOutput {
    /// Writes text and a line end, at once.
    package static func line(_ text: String) throws(BrokenOutput) {
        try bytes(Array((text + "\n").utf8))
    }

    /// Writes all bytes; blocks while a pipe is full.
    package static func bytes(_ bytes: [UInt8]) throws(BrokenOutput) {
        guard writeAll(bytes, to: STDOUT_FILENO) else { throw BrokenOutput() }
    }

    package static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
}

/// Talk for people. Whoever does not listen misses it.
package enum StandardError {
    package static func line(_ text: String) { bytes(Array((text + "\n").utf8)) }

    package static func bytes(_ bytes: [UInt8]) { _ = writeAll(bytes, to: STDERR_FILENO) }

    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }
}

private func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
    var rest = bytes[...]
    while !rest.isEmpty {
        let written = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        if written < 0 {
            if errno == EINTR { continue }
            // Somebody shares the descriptor and made it non-blocking.
            guard errno == EAGAIN else { return false }
            var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = poll(&ready, 1, -1)
            continue
        }
        rest = rest.dropFirst(written)
    }
    return true
}
