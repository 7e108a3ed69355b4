import ArgumentParser
import CommandMain
import Foundation
import Machine

struct ExecCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "exec",
        abstract: "Run a command in the guest, as the machine's user.",
        usage: "rum exec [<name>] [<options>] [--] <command> [<argument> ...]",
        discussion: """
            The command gets a terminal of its own when both standard input and standard output are terminals; else \
            its streams pass through as they are. Its exit code is that of `rum exec`: 127 when the guest has no such \
            program, 126 when it cannot be started, and 255 when the guest cannot be reached.

            The first word is the machine's name if a machine of that name exists, or if `--` follows it; else the \
            command begins with it. A command that is called like a machine is written behind `--`.
            """)

    @OptionGroup var options: ExecOptions

    func validate() throws {
        if options.words.isRequestForHelp { throw CleanExit.helpRequest(self) }
        let (options, name, command) = try options.resolved()
        _ = try MachineChoice(name: name, config: options.file.config)
        if command.isEmpty {
            throw ValidationError("no command; `rum exec -- uname -a` runs one, `rum shell` opens a shell")
        }
    }

    func run() async throws {
        let (options, name, command) = try options.resolved()
        let machine = try MachineChoice(name: name, config: options.file.config).machineToReach()
        let session = ExecSession(machine: machine, verbose: options.talk.verbose)
        var request = try options.request()
        request.arguments = command
        try await session.run(request)
    }
}

/// The options of `rum exec`, which may stand before and behind the machine's name.
struct ExecOptions: ParsableArguments {
    @OptionGroup var file: ConfigOption
    @OptionGroup var place: ExecPlace
    @OptionGroup var talk: TalkOptions

    @Flag(name: [.customShort("t"), .customLong("tty")], help: "Give the command a terminal in any case.")
    var terminal = false

    @Flag(name: [.customShort("T"), .customLong("no-tty")], help: "Give it no terminal.")
    var noTerminal = false

    @Argument(
        parsing: .captureForPassthrough,
        help: ArgumentHelp("The machine's name if it is one, and the command.", valueName: "command"),
        completion: .custom { _, _, _ in machineNames() })
    var words: [String] = []

    /// These options with those behind the machine's name, that name, and the command.
    func resolved() throws -> (ExecOptions, name: String?, command: [String]) {
        let words = MachineWords(words)
        guard words.name != nil, !words.isTerminated, words.rest.first?.hasPrefix("-") == true else {
            return (self, words.name, words.rest)
        }
        var all = try ExecOptions.parse(words.rest)
        let command = all.words.first == "--" ? Array(all.words.dropFirst()) : all.words
        all.file.config = all.file.config ?? file.config
        all.place.root = all.place.root || place.root
        all.place.directory = all.place.directory ?? place.directory
        all.place.environment = place.environment + all.place.environment
        all.terminal = all.terminal || terminal
        all.noTerminal = all.noTerminal || noTerminal
        all.talk.verbose = all.talk.verbose || talk.verbose
        return (all, words.name, command)
    }

    func request() throws -> ExecRequest {
        var request = try place.request()
        let isInteractive = isatty(STDIN_FILENO) == 1 && StandardOutput.isTerminal
        request.hasTerminal = !noTerminal && (terminal || isInteractive)
        return request
    }
}

/// As whom, where and with what a command is run.
struct ExecPlace: ParsableArguments {
    @Flag(help: "Run it as root, not as the machine's user (ssh.user).")
    var root = false

    @Option(
        name: [.customShort("w"), .customLong("workdir")],
        help: ArgumentHelp("The folder to run it in; else the user's home.", valueName: "folder"))
    var directory: String?

    @Option(
        name: [.customShort("e"), .customLong("env")],
        help: ArgumentHelp(
            "A variable of its environment, as NAME=VALUE, or NAME for the value it has here.",
            valueName: "variable"))
    var environment: [String] = []

    func request() throws(CommandFailure) -> ExecRequest {
        var request = ExecRequest(isRoot: root, directory: directory ?? "")
        for text in environment {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard !name.isEmpty else {
                throw CommandFailure(
                    "-e \(text): a variable has no name", hint: "write it as NAME=VALUE", status: .usage)
            }
            if parts.count == 2 {
                request.environment[name] = String(parts[1])
            } else if let value = ProcessInfo.processInfo.environment[name] {
                request.environment[name] = value
            }
        }
        return request
    }
}

/// The words behind `rum exec` or `rum ssh`: perhaps a machine's name, then something for the guest.
struct MachineWords {
    let name: String?
    let rest: [String]
    /// Whether `--` said where the rest begins.
    let isTerminated: Bool

    /// - Parameter exists: whether there is a machine of that name.
    init(_ words: [String], exists: (String) -> Bool = MachineWords.machineExists) {
        if words.first == "--" {
            (name, rest, isTerminated) = (nil, Array(words.dropFirst()), true)
        } else if words.count > 1, words[1] == "--" {
            (name, rest, isTerminated) = (words[0], Array(words.dropFirst(2)), true)
        } else if let first = words.first, exists(first) {
            (name, rest, isTerminated) = (first, Array(words.dropFirst()), false)
        } else {
            (name, rest, isTerminated) = (nil, words, false)
        }
    }

    static func machineExists(_ name: String) -> Bool {
        VirtualMachine(existing: name, environment: ProcessInfo.processInfo.environment) != nil
    }
}

extension [String] {
    /// Whether the words behind a command ask for its help: the parser leaves that to those who take all words.
    var isRequestForHelp: Bool { first == "--help" || first == "-h" }
}
