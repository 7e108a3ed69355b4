import ArgumentParser
import CommandMain
import Linux
import Machine
import RumConfig

struct LogsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logs",
        abstract: "Show what the guest said, in this run or an earlier one.",
        discussion: """
            Without a choice it is the whole console, since that has the words of all in the order in which they came: \
            the kernel, the agent, the scripts of rum.toml. It works whether or not the machine runs or answers.
            """)

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    @Flag(name: .shortAndLong, help: "Go on with what comes, until Ctrl-C.") var follow = false
    @Flag var selection = LogSelection.console

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "0 for this run of the machine, -1 for the one before, and so on.", valueName: "number"))
    var boot = 0

    @Option(
        name: [.customShort("n"), .long],
        help: ArgumentHelp("Only this many lines at the end.", valueName: "count"))
    var lines: Int?

    func validate() throws {
        if let lines, lines < 0 {
            throw ValidationError("--lines: expected a number from 0 on, not \(lines)")
        }
        if boot > 0 {
            throw ValidationError(
                "--boot: expected 0 for this run, -1 for the one before, and so on, not \(boot)")
        }
        if boot < 0, selection == .background {
            throw ValidationError("--boot is about the guest, not --background")
        }
        if boot < 0, follow { throw ValidationError("--follow: an earlier run says nothing more") }
    }

    func run() async throws {
        let signals = TerminationSignals.stream()
        let machine = try options.choice.machine()
        let path = try path(of: machine.files)
        if talk.verbose { StandardError.line("rum: \(path)") }
        try await Foreground.run(until: signals, whileRead: follow) { try await show(path, machine) }
    }

    private func path(of files: MachineFiles) throws(CommandFailure) -> String {
        if selection == .background { return files.backgroundLog }
        if boot == 0 { return files.consoleLog }
        let earlier = files.earlierConsoleLogs
        guard boot >= -earlier.count else {
            throw CommandFailure(
                "only the last \(earlier.count) runs before this one are kept",
                hint: "try `rum logs --boot -1`",
                status: .usage)
        }
        return earlier[-boot - 1]
    }

    private func show(_ path: String, _ machine: VirtualMachine) async throws {
        let reader: LogReader
        do throws(SystemError) {
            reader = try LogReader(path)
        } catch {
            throw missing(error, machine)
        }
        let isTerminal = StandardOutput.isTerminal
        func write(_ lines: [String]) async throws {
            guard !lines.isEmpty else { return }
            let text = lines.map { (isTerminal ? LogText.shown($0) : $0) + "\n" }.joined()
            try await StandardOutput.bytes(Array(text.utf8))
        }
        var last: [String] = []
        while case let chunk = try reader.next(), !chunk.isEmpty {
            let chosen = chunk.filter { selection.contains(LogText.withoutSequences($0)) }
            guard let lines else {
                try await write(chosen)
                continue
            }
            last = (last + chosen).suffix(lines)
        }
        try await write(last)
        if !follow {
            if let rest = reader.rest(), selection.contains(LogText.withoutSequences(rest)), lines != 0 {
                try await write([rest])
            }
            return
        }
        while !Task.isCancelled {
            let chunk = try reader.next()
            try await write(chunk.filter { selection.contains(LogText.withoutSequences($0)) })
            guard chunk.isEmpty else { continue }
            if reader.beginAgainIfReplaced() {
                StandardError.line("rum: the log begins again")
                continue
            }
            try? await Task.sleep(for: .milliseconds(200))
        }
    }

    private func missing(_ error: SystemError, _ machine: VirtualMachine) -> CommandFailure {
        let name = machine.config.name
        guard error.isMissingFile else {
            return CommandFailure(
                "cannot read the log: \(error)", hint: "look at the files in \(machine.files.directory)")
        }
        if selection == .background {
            return CommandFailure(
                "\(name) has never been forwarded in the background", hint: "`rum up -d` does so")
        }
        return boot == 0
            ? CommandFailure("\(name) has not been started", hint: "`rum up` starts it")
            : CommandFailure(
                "nothing is kept of run \(boot) of \(name)",
                hint: "fewer starts than that have been seen; try a number closer to 0")
    }
}

/// As flags that exclude each other.
extension LogSelection: EnumerableFlag {
    static func help(for value: LogSelection) -> ArgumentHelp? {
        switch value {
        case .console: "All of the guest's console (the default)."
        case .agent: "The agent's lines alone."
        case .provision: "The lines of the scripts of rum.toml alone."
        case .background: "What the background process of `rum up -d` said."
        }
    }
}
