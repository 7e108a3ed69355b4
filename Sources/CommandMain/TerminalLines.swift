internal import Glibc
package import Linux
internal import Synchronization

/// Lines that somebody types on the terminal of standard input, read only while they are wanted: what is typed at other
/// times is the shell's.
///
/// A program in the background of a shell reads nothing, and is not stopped for trying: the thread that reads has SIGTTIN
/// blocked, and then read(2) fails with EIO (setpgid(2), tty_io.c). It tries again.
package final class TerminalLines: Sendable {
    private static let longest = 1024
    /// Until a program that was in the background looks whether it is in front again.
    private static let backgroundPause: Int32 = 500

    private struct State {
        var isWanted = false
        /// Counts the wishes.
        var turn = 0
        var isOver = false
    }

    private let state = Mutex(State())
    private let waker: Waker
    private let lines = AsyncStream<String>.makeStream(bufferingPolicy: .bufferingNewest(16))

    /// nil where standard input is no terminal.
    package init?() throws(SystemError) {
        guard isatty(STDIN_FILENO) == 1 else { return nil }
        waker = try Waker()
        try DedicatedThread.start(name: "typed") { self.run() }
    }

    /// The lines, without their ends, until the terminal goes or `end` is called. Read it once.
    package var stream: AsyncStream<String> { lines.stream }

    /// Whether lines are wanted. What was typed before they were is dropped.
    package func want(_ isWanted: Bool) {
        state.withLock { state in
            state.isWanted = isWanted
            if isWanted { state.turn += 1 }
        }
        waker.wake()
    }

    /// Ends the thread that reads, and with it the lines. Does not wait for it.
    package func end() {
        state.withLock { $0.isOver = true }
        waker.wake()
    }

    private func run() {
        var line: [UInt8] = []
        var isInBackground = false
        var turn = 0
        while true {
            let now = state.withLock { $0 }
            if now.isOver { break }
            if now.turn != turn {
                (turn, line) = (now.turn, [])
                // What is typed for a shell in front is not ours to drop.
                if isInFront { tcflush(STDIN_FILENO, TCIFLUSH) }
            }
            let reads = now.isWanted && !isInBackground
            var entries = [
                pollfd(fd: waker.descriptor, events: Int16(POLLIN), revents: 0),
                pollfd(fd: reads ? STDIN_FILENO : -1, events: Int16(POLLIN), revents: 0),
            ]
            let ready = poll(&entries, 2, isInBackground ? Self.backgroundPause : -1)
            isInBackground = false
            guard ready > 0 else { continue }
            if entries[0].revents != 0 { waker.clear() }
            // The wish may have gone in the meantime.
            guard entries[1].revents != 0, state.withLock({ $0.isWanted && !$0.isOver }) else { continue }
            if entries[1].revents & Int16(POLLIN) == 0 { break }
            switch chunk() {
            case .bytes(let bytes): take(bytes, &line)
            case .background: isInBackground = true
            case .over: return lines.continuation.finish()
            }
        }
        lines.continuation.finish()
    }

    private var isInFront: Bool { tcgetpgrp(STDIN_FILENO) == getpgrp() }

    private enum Chunk {
        case bytes([UInt8])
        case background, over
    }

    private func chunk() -> Chunk {
        var bytes = [UInt8](repeating: 0, count: Self.longest)
        let count = read(STDIN_FILENO, &bytes, bytes.count)
        if count > 0 { return .bytes(Array(bytes[..<count])) }
        // Ctrl-D on an empty line: nobody will answer here any more.
        if count == 0 { return .over }
        switch errno {
        // Else the terminal has hung up.
        case EIO: return !isInFront && tcgetpgrp(STDIN_FILENO) > 0 ? .background : .over
        case EAGAIN, EINTR: return .bytes([])
        default: return .over
        }
    }

    private func take(_ bytes: [UInt8], _ line: inout [UInt8]) {
        for byte in bytes {
            if byte == UInt8(ascii: "\n") {
                lines.continuation.yield(String(decoding: line, as: UTF8.self))
                line = []
            } else if line.count < Self.longest {
                line.append(byte)
            }
        }
    }
}
