package import ArgumentParser
internal import Glibc
internal import Linux

/// How a command ends, as the shell sees it.
package enum ExitStatus: Int32, Sendable {
    case done = 0
    case failed = 1
    /// Bad usage or configuration.
    case usage = 2
    /// Ended by Ctrl-C.
    case interrupted = 130
    /// A command in the guest could not be run or waited for; as ssh has it, so that no code of the command's own
    /// is mistaken for it.
    case unreachable = 255
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
    /// Usage errors are 2, as everywhere in rum, not the parser's 64. What was said is written first, but a reader who
    /// does not read holds the end up for a second at the most.
    ///
    /// - Parameters:
    ///   - leading: options that may stand before the command's name too.
    ///   - amend: changes what the parser prints as data: help, the version, and completions for shells.
    package static func runToExit(
        leading: LeadingOptions = LeadingOptions(), amend: @Sendable (String) -> String = { $0 }
    ) async -> Never {
        // A peer or pipe that went away is an error of the write, not the end of the program.
        _ = signal(SIGPIPE, SIG_IGN)
        let status = await runToStatus(leading, amend)
        await OutputQueue.standard.flush(within: OutputLimits.flushTime)
        Glibc.exit(status)
    }

    /// Runs the command, tells its failure, and returns the exit code.
    private static func runToStatus(
        _ leading: LeadingOptions, _ amend: @Sendable (String) -> String
    ) async -> Int32 {
        let words = Array(CommandLine.arguments.dropFirst())
        // The parser would show the help of all commands instead.
        if words.first == "help", words.dropFirst().first != "help",
            let unknown = leading.unknownCommand(Array(words.dropFirst()), of: self),
            tell(unknown, insteadOf: nil)
        {
            return ExitStatus.usage.rawValue
        }
        do {
            var command = try await asyncParseAsRoot(leading.behindCommand(words, of: self))
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
            return ExitStatus.done.rawValue
        } catch let failure as CommandFailure {
            StandardError.line("error: \(safe(failure.message))")
            if let hint = failure.hint { StandardError.line("hint: \(safe(hint))") }
            return failure.status.rawValue
        } catch let code as ExitCode {
            return code.rawValue
        } catch let broken as BrokenOutput {
            return broken.tell()
        } catch {
            let text = fullMessage(for: error)
            if exitCode(for: error).isSuccess {
                do throws(BrokenOutput) {
                    try await StandardOutput.line(amend(text))
                    return ExitStatus.done.rawValue
                } catch {
                    return error.tell()
                }
            }
            let isUsage = exitCode(for: error) == .validationFailure
            if isUsage, let unknown = leading.unknownCommand(words, of: self), tell(unknown, insteadOf: text)
            {
                return ExitStatus.usage.rawValue
            }
            StandardError.line(isUsage ? usageError(text) : "error: \(text)")
            return isUsage ? ExitStatus.usage.rawValue : ExitStatus.failed.rawValue
        }
    }

    /// Whether there was something to tell; see `UnknownCommand.message`.
    private static func tell(_ unknown: UnknownCommand, insteadOf text: String?) -> Bool {
        guard let message = unknown.message(insteadOf: text) else { return false }
        StandardError.line("error: \(safe(message))")
        StandardError.line("hint: \(safe(unknown.hint))")
        return true
    }

    /// Messages quote guests, peers and files: none of their bytes reach the terminal as they are, but line ends.
    private static func safe(_ text: String) -> String {
        text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.printable(limit: 2000) }
            .joined(separator: "\n")
    }

    /// The parser's words, which end with where to read more, in the form of every other error.
    private static func usageError(_ text: String) -> String {
        var lines = text.split(separator: "\n").map(String.init)
        if let first = lines.first, first.hasPrefix("Error: ") {
            lines[0] = "error: " + first.dropFirst("Error: ".count)
        }
        if let last = lines.last, last.hasPrefix("  See ") {
            lines[lines.count - 1] = "hint: See " + last.dropFirst("  See ".count)
        }
        return lines.joined(separator: "\n")
    }
}

extension BrokenOutput {
    /// Tells what is missing, but for a reader who has seen enough (`rum logs | head`); returns the exit code.
    fileprivate func tell() -> Int32 {
        if !isUnread {
            StandardError.line("error: standard output cannot be written: \(error.reason)")
            StandardError.line("hint: \(hint)")
        }
        return ExitStatus.failed.rawValue
    }

    private var hint: String {
        switch error.code {
        case EBADF: "nothing was open for it (>&-); >/dev/null throws the output away"
        case ENOSPC, EDQUOT: "the output is incomplete; free disk space, or write it elsewhere"
        case EIO: "the output is incomplete; its terminal has gone, or its disk is broken"
        default: "the output is incomplete; write it elsewhere"
        }
    }
}
