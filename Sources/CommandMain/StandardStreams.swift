internal import Glibc
internal import Linux

/// Standard output cannot be written any more: its reader went away, or its disk is full.
package struct BrokenOutput: Error {
    /// What write(2) said.
    let error: SystemError
    /// Its reader went away.
    package var isUnread: Bool { error.code == EPIPE }
}

/// Data for other programs.
package enum StandardOutput {
    /// Queues a line for a reader who follows what happens, and never waits. When its reader is too slow it is dropped,
    /// which a later line tells.
    package static func post(_ line: String) throws(BrokenOutput) {
        let queue = OutputQueue.standard
        guard queue.post(Array((line + "\n").utf8), to: .output) else { throw queue.breakage(of: .output) }
    }

    /// Writes a line and waits until it is written.
    package static func line(_ text: String) async throws(BrokenOutput) {
        try await bytes(Array((text + "\n").utf8))
    }

    /// Writes all bytes and waits until they are written, or the task is cancelled.
    package static func bytes(_ bytes: [UInt8]) async throws(BrokenOutput) {
        let queue = OutputQueue.standard
        guard await queue.write(bytes, to: .output) else { throw queue.breakage(of: .output) }
    }

    /// Throws once it cannot be written any more, though nothing is written when its reader goes; returns when the task is
    /// cancelled.
    package static func untilBroken() async throws(BrokenOutput) {
        let queue = OutputQueue.standard
        await queue.untilBroken(.output)
        if !Task.isCancelled { throw queue.breakage(of: .output) }
    }

    /// An element each time that lines were dropped and the reader has caught up. All further ones are dropped until
    /// `endGap` is called.
    ///
    /// - Parameter line: says how many lines are missing.
    package static func gaps(line: @escaping @Sendable (Int) -> String) -> AsyncStream<Void> {
        let gaps = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        OutputQueue.standard.onGap(of: .output, line: line) { gaps.continuation.yield() }
        return gaps.stream
    }

    /// Tells how many lines are missing; those posted from now on are queued again.
    package static func endGap() { OutputQueue.standard.endGap(of: .output) }

    package static var isTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
}

/// Talk for people. Whoever does not listen misses it.
package enum StandardError {
    /// Queues a line, and never waits.
    package static func line(_ text: String) { self.text(text + "\n") }

    /// Queues text that brings its own line ends, and never waits.
    package static func text(_ text: String) { _ = OutputQueue.standard.post(Array(text.utf8), to: .errors) }

    /// Writes data of another program's standard error and waits until it is written, or the task is cancelled.
    package static func bytes(_ bytes: [UInt8]) async {
        _ = await OutputQueue.standard.write(bytes, to: .errors)
    }

    package static var isTerminal: Bool { isatty(STDERR_FILENO) == 1 }
}

extension OutputQueue {
    fileprivate func breakage(of lane: Lane) -> BrokenOutput {
        BrokenOutput(error: failure(of: lane) ?? SystemError(code: EPIPE, operation: "write"))
    }

    /// The process's own.
    static let standard = OutputQueue()
}
