import ArgumentParser
import CommandMain
import Foundation
import Glibc
import Linux
import Machine
import RumConfig

struct InitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract: "Write a rum.toml with comments.",
        discussion: """
            On a terminal it asks for what is not given as an option; Enter takes what stands in brackets. Elsewhere, \
            and with --defaults, it asks nothing.
            """)

    @Option(
        name: [.customShort("c", allowingJoined: true), .customLong("config")],
        help: ArgumentHelp("The file to write.", valueName: "file"),
        completion: .file(extensions: ["toml"]))
    var config = "rum.toml"

    @Flag(help: "Ask nothing: take the defaults for what is not given.")
    var defaults = false

    @Flag(help: "Replace a file that is there.")
    var force = false

    @Option(help: "The machine's name; else made from the folder's.")
    var name: String?

    @Option(
        help: ArgumentHelp(
            "A name of `rum images list`, a URL, or the path of a qcow2 or raw file.", valueName: "image"),
        completion: .file())
    var image: String?

    @Option(help: ArgumentHelp("How many CPUs.", valueName: "number"))
    var cpus: String?

    @Option(help: ArgumentHelp("Memory in MiB, or with a unit, such as 4G.", valueName: "size"))
    var memory: String?

    @Option(help: ArgumentHelp("The size of the disk, such as 20G.", valueName: "size"))
    var disk: String?

    @Option(
        help: ArgumentHelp(
            "The ports to forward while something listens; - for none.", valueName: "min-max"))
    var autoPorts: String?

    @Option(
        help: ArgumentHelp(
            "Take over forwardPorts, portsAttributes and otherPortsAttributes of this devcontainer.json.",
            valueName: "file"),
        completion: .file(extensions: ["json"]))
    var from: String?

    @OptionGroup var talk: TalkOptions

    func run() async throws {
        let signals = TerminationSignals.stream()
        let path = try freePath()
        var answers = InitAnswers(path: path)
        if let container = try devContainer() { answers.take(container) }
        let given: [(key: String, option: String, value: String?)] = [
            ("name", "--name", name), ("image.base", "--image", image), ("resources.cpus", "--cpus", cpus),
            ("resources.memory_mb", "--memory", memory), ("resources.disk", "--disk", disk),
            ("auto_ports.range", "--auto-ports", autoPorts),
        ]
        for (key, option, value) in given {
            guard let value, let question = InitAnswers.questions.first(where: { $0.key == key }) else {
                continue
            }
            answers[keyPath: question.answer] = Self.cleaned(value, key)
            if let problem = answers.problem(with: key) {
                throw CommandFailure(
                    "\(option): \(problem)", hint: "correct \(option), or leave it out: the default is good",
                    status: .usage)
            }
        }
        let open = InitAnswers.questions.filter { question in
            !given.contains { $0.key == question.key && $0.value != nil }
        }
        let asks = !defaults && StandardError.isTerminal && isatty(STDIN_FILENO) == 1
        let (start, config, replaces, isVerbose) = (answers, config, force, talk.verbose)
        try await Foreground.run(until: signals) {
            let final = asks ? try await Self.ask(open, start, path) : start
            do throws(SystemError) {
                try WholeFile.write(final.document.utf8, to: path, mode: 0o666, replaces: replaces)
            } catch {
                throw Self.failure(config, error)
            }
            if isVerbose { StandardError.text(final.document) }
            if let other = Self.owner(of: final.name, besides: path) {
                StandardError.line(
                    "rum: there is a machine \(final.name) of \(other) already: change the name in \(config)")
            }
            for phrase in final.devContainer?.leftOut ?? [] {
                StandardError.line("rum: Not taken over: \(phrase)")
            }
            StandardError.line(
                "rum: Wrote \(config); `rum up\(Self.option(for: config))` starts \(final.name)")
        }
    }

    /// The absolute path of the file, where none may be unless --force is given: asked before any question.
    private func freePath() throws(CommandFailure) -> String {
        let path = URL(fileURLWithPath: config).standardizedFileURL.path
        var status = stat()
        guard lstat(path, &status) == 0, !force else { return path }
        throw Self.exists(config)
    }

    private func devContainer() throws(CommandFailure) -> DevContainer? {
        guard let from else { return nil }
        let hint = "--from takes the devcontainer.json of a project, often .devcontainer/devcontainer.json"
        let text: String
        do throws(SystemError) {
            text = try SmallFile.text(of: from, limit: 1 << 20)
        } catch {
            throw CommandFailure("cannot read \(from): \(error.reason)", hint: hint, status: .usage)
        }
        do throws(DevContainer.Problem) {
            return try DevContainer(text: text)
        } catch {
            throw CommandFailure("\(from): \(error.message)", hint: hint, status: .usage)
        }
    }

    private static func exists(_ config: String) -> CommandFailure {
        CommandFailure(
            "\(config) exists already",
            hint: "`rum init\(option(for: config)) --force` replaces it; `rum init -c FILE` writes another")
    }

    private static func failure(_ config: String, _ error: SystemError) -> CommandFailure {
        if error.code == EEXIST { return exists(config) }
        return CommandFailure(
            "cannot write \(config): \(error.reason)", hint: "choose a file in another folder with -c FILE")
    }

    private static func option(for config: String) -> String {
        config == "rum.toml" ? "" : " -c \(SshSettings.shellQuoted(config))"
    }

    /// The file of the machine that has this name, when it is another one.
    private static func owner(of name: String, besides path: String) -> String? {
        let machine = VirtualMachine(existing: name, environment: ProcessInfo.processInfo.environment)
        guard let file = machine?.config.file, file != path, access(file, F_OK) == 0 else { return nil }
        return file
    }

    // MARK: - Questions

    /// Asks each question until its answer is good; Enter takes the default.
    private static func ask(
        _ questions: [InitAnswers.Question], _ start: InitAnswers, _ path: String
    ) async throws -> InitAnswers {
        var answers = start
        var lines = InputLines()
        for question in questions {
            while true {
                let current = answers[keyPath: question.answer]
                StandardError.text("\(question.text) [\(current)]: ")
                guard let line = try await lines.next() else {
                    StandardError.line("")
                    try Task.checkCancellation()
                    throw CommandFailure(
                        "the input ended before the last question; nothing was written",
                        hint: "`rum init --defaults` asks nothing")
                }
                guard !line.isEmpty else { break }
                var changed = answers
                changed[keyPath: question.answer] = cleaned(line, question.key)
                if question.key == "name", let other = owner(of: changed.name, besides: path) {
                    StandardError.line("There is a machine \(changed.name) of \(other) already.")
                    continue
                }
                if let problem = changed.problem(with: question.key) {
                    StandardError.line(problem.printable(limit: 500))
                    continue
                }
                answers = changed
                break
            }
        }
        return answers
    }

    private static func cleaned(_ text: String, _ key: String) -> String {
        let word = text.trimmingCharacters(in: .whitespaces)
        return key == "auto_ports.range" && word == "-" ? "" : word
    }
}

/// Standard input, a line at a time.
private struct InputLines {
    private var chunks = StandardInput.chunks().makeAsyncIterator()
    private var pending: [UInt8] = []

    /// The next line without its end; nil at the end of the input.
    mutating func next() async throws -> String? {
        while true {
            if let end = pending.firstIndex(of: UInt8(ascii: "\n")) {
                defer { pending.removeSubrange(...end) }
                return String(decoding: pending[..<end], as: UTF8.self)
            }
            guard let chunk = try await chunks.next() else { return nil }
            pending += chunk
        }
    }
}
