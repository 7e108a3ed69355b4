import ArgumentParser
import CommandMain
import Linux
import Relay

/// Commands that stay until they are interrupted.
enum Foreground {
    /// Runs `body` until it ends or a signal comes; then `body` is cancelled and cleans up. A second signal does not
    /// wait for that.
    ///
    /// - Throws: exit code 130 after a signal, as a shell expects of Ctrl-C.
    static func run(
        until signals: AsyncStream<Int32>, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await body()
                return false
            }
            group.addTask {
                for await _ in signals { return true }
                return false
            }
            let interrupted = try await group.next() ?? false
            if interrupted { TerminationSignals.restoreDefaults() }
            group.cancelAll()
            // After a signal, how the body ends is its own affair; before, the group rethrows it.
            while await group.nextResult() != nil {}
            if interrupted { throw ExitCode(ExitStatus.interrupted.rawValue) }
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
