@preconcurrency internal import Dispatch
internal import Glibc

/// The signals that ask a program to end.
package enum TerminationSignals {
    private static let numbers = [SIGINT, SIGTERM, SIGHUP]

    /// Takes SIGINT, SIGTERM and SIGHUP away from their default action and delivers their numbers instead.
    ///
    /// Call it once, before anything that must be cleaned up exists. SIGPIPE is ignored from then on: a peer
    /// that went away is an error of the write, not the end of the program.
    package static func stream() -> AsyncStream<Int32> {
        _ = signal(SIGPIPE, SIG_IGN)
        return AsyncStream { continuation in
            let sources = numbers.map { number in
                _ = signal(number, SIG_IGN)
                let source = DispatchSource.makeSignalSource(signal: number)
                source.setEventHandler { @Sendable in continuation.yield(number) }
                source.activate()
                return source
            }
            continuation.onTermination = { _ in
                for source in sources { source.cancel() }
            }
        }
    }

    /// Gives the signals their default action back: the next one ends a program that takes long to clean up.
    package static func restoreDefaults() {
        for number in numbers { _ = signal(number, SIG_DFL) }
    }
}
