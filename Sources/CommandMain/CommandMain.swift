package import ArgumentParser
internal import Glibc

/// How a command ends, as the shell sees it.
package enum ExitStatus: Int32, Sendable {
    case done = 0
    case failed = 1
    /// Bad usage or configuration.
    case usage = 2
    /// Ended by Ctrl-C.
    case interrupted = 130
}

/// A failure that was told to the user in one sentence, with what to do next.
package struct CommandFailure: Error, Sendable {
    package let message: String
    package let hint: String?
    package let status: ExitStatus

    package init(_ message: String, hint: String?, status: ExitStatus = .failed) {
        self.message = message
        self.hint = hint
        self.status = status
    }
}

extension AsyncParsableCommand {
    /// Parses the command line, runs the command and ends the process with the right exit code.
    ///
    /// Usage errors are 2, as everywhere in rum, not the parser's 64.
    package static func runToExit() async -> Never {
        // A peer or pipe that went away is an error of the write, not the end of the program.
        _ = signal(SIGPIPE, SIG_IGN)
        do {
            var command = try parseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            Glibc.exit(ExitStatus.done.rawValue)
        } catch let failure as CommandFailure {
            StandardError.line("error: \(failure.message)")
            if let hint = failure.hint { StandardError.line("hint: \(hint)") }
            Glibc.exit(failure.status.rawValue)
        } catch let code as ExitCode {
            Glibc.exit(code.rawValue)
        } catch is BrokenOutput {
            Glibc.exit(ExitStatus.failed.rawValue)
        } catch {
            let text = fullMessage(for: error)
            if exitCode(for: error).isSuccess {
                try? StandardOutput.line(text)
                Glibc.exit(ExitStatus.done.rawValue)
            }
            StandardError.line(text)
            Glibc.exit(
                exitCode(for: error) == .validationFailure
                    ? ExitStatus.usage.rawValue : ExitStatus.failed.rawValue)
        }
    }
}
