import ArgumentParser
import CommandMain
import Dispatch
import Glibc
import Linux
import Relay

/// Commands that stay until they are interrupted.
enum Foreground {
    private enum End {
        case ofBody, interrupted
        /// Its disk is full, which ends nothing.
        case ofOutput
    }

    /// Runs `body` until it ends or a signal comes; then `body` is cancelled and cleans up. A second signal does not
    /// wait for that, and neither does it last longer than `cleanupLimit`: a call of libvirt can take minutes, and
    /// nothing can end it.
    ///
    /// - Parameter whileRead: also ends when the reader of standard output goes (`rum forward | head -1`).
    /// - Throws: exit code 130 after a signal, as a shell expects of Ctrl-C; `BrokenOutput` when the reader has gone.
    static func run(
        until signals: AsyncStream<Int32>, whileRead: Bool = false,
        _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: End.self) { group in
            group.addTask {
                try await body()
                return .ofBody
            }
            group.addTask {
                for await _ in signals { return .interrupted }
                return .ofBody
            }
            if whileRead {
                group.addTask {
                    do throws(BrokenOutput) {
                        try await StandardOutput.untilBroken()
                    } catch {
                        guard error.isUnread else { return .ofOutput }
                        TerminationSignals.restoreDefaults()
                        throw error
                    }
                    return .ofOutput
                }
            }
            var end = try await group.next()
            while end == .ofOutput { end = try await group.next() }
            let interrupted = end == .interrupted
            if interrupted {
                TerminationSignals.restoreDefaults()
                endLater()
            }
            group.cancelAll()
            // After a signal, how the body ends is its own affair; before, the group rethrows it.
            while await group.nextResult() != nil {}
            if interrupted { throw ExitCode(ExitStatus.interrupted.rawValue) }
        }
    }
}

extension Foreground {
    /// How long the clean-up after a signal may take.
    private static let cleanupLimit = DispatchTimeInterval.seconds(3)
    /// For the last line, which another thread writes.
    private static let lastLineTime = DispatchTimeInterval.milliseconds(200)

    /// Ends the process unless it has ended by then.
    private static func endLater() {
        DispatchQueue.global().asyncAfter(deadline: .now() + cleanupLimit) {
            StandardError.line(
                "rum: did not wait for what was going on; `rum status` shows what became of it")
            DispatchQueue.global().asyncAfter(deadline: .now() + lastLineTime) {
                exit(ExitStatus.interrupted.rawValue)
            }
        }
    }
}

extension RelayEngine {
    /// The engine of a host command, whose words go to standard error.
    static func forHost(_ output: EventOutput) throws(CommandFailure) -> RelayEngine {
        // Two descriptors a connection: the engine's bound follows the limit.
        DescriptorLimit.raise()
        do throws(SystemError) {
            return try RelayEngine { StandardError.line("rum: \($0)") }
        } catch {
            throw CommandFailure(
                "cannot start to relay: \(error)",
                hint: "raise the limit on open files (ulimit -n), then try again")
        }
    }
}
