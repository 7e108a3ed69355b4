import CLinux
import CommandMain
@preconcurrency import Dispatch
import Glibc

/// The size of the terminal that shows standard output.
struct TerminalSize: Equatable {
    var columns: Int
    var rows: Int

    /// nil when there is none, or it does not tell.
    static var current: TerminalSize? {
        var columns: UInt16 = 0
        var rows: UInt16 = 0
        guard clinux_terminal_size(STDOUT_FILENO, &rows, &columns) == 0, columns > 0, rows > 0 else {
            return nil
        }
        return TerminalSize(columns: Int(columns), rows: Int(rows))
    }

    /// An element whenever the user has changed it.
    static func changes() -> AsyncStream<Void> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            _ = signal(SIGWINCH, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: SIGWINCH)
            source.setEventHandler { @Sendable in continuation.yield() }
            source.activate()
            continuation.onTermination = { _ in source.cancel() }
        }
    }
}
