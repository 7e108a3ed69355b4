import AgentAPI
import CLinux
@preconcurrency import Dispatch
import Glibc
import SwiftProtobuf

/// This process's terminal while a command of the guest has it: every key goes there as it is typed.
final class ExecTerminal: Sendable {
    /// Nil where standard input is no terminal; then there is nothing to set.
    private let before: termios?
    private let raw: termios?

    /// Puts standard input into raw mode; call `restore` in any case.
    init() {
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else {
            (before, raw) = (nil, nil)
            return
        }
        before = settings
        cfmakeraw(&settings)
        raw = settings
        set(raw)
    }

    deinit { restore() }

    func restore() { set(before) }

    /// The size now, then each new one. When this process was stopped and goes on, the shell has set the terminal to its
    /// own liking meanwhile, so raw mode comes back first.
    func sizes() -> AsyncStream<Rum_V1_TerminalSize> {
        AsyncStream { continuation in
            let sources = [SIGWINCH, SIGCONT].map { number in
                let source = DispatchSource.makeSignalSource(signal: number)
                source.setEventHandler { @Sendable [weak self] in
                    if number == SIGCONT { self?.set(self?.raw) }
                    continuation.yield(Self.size)
                }
                source.activate()
                return source
            }
            continuation.onTermination = { _ in
                for source in sources { source.cancel() }
            }
        }
    }

    /// The size of the terminal on one of the standard streams; else the usual one.
    static var size: Rum_V1_TerminalSize {
        var (rows, columns): (UInt16, UInt16) = (0, 0)
        for stream in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] {
            if clinux_terminal_size(stream, &rows, &columns) == 0, rows > 0, columns > 0 { break }
            (rows, columns) = (24, 80)
        }
        return .with {
            $0.rows = UInt32(rows)
            $0.columns = UInt32(columns)
        }
    }

    private func set(_ settings: termios?) {
        guard var settings else { return }
        _ = tcsetattr(STDIN_FILENO, TCSADRAIN, &settings)
    }
}
