import ArgumentParser
import CommandMain
import Foundation
import Glibc
import Linux
import Machine
import Names
import RumConfig

struct HostsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hosts",
        abstract: "Print lines for /etc/hosts that name the machines' addresses, or write them there.",
        discussion: """
            Browsers and curl know all names under localhost by themselves. Other programs may need these lines, and with \
            bind = "machine" they lead to the machine's own address: psql -h dev.localhost. Without such an address a \
            machine's name means 127.0.0.1.
            """)

    @Flag(help: "Write the lines to the file, after asking, in the place of those written before.")
    var install = false

    @Flag(help: "Take the lines out of the file, after asking.")
    var remove = false

    @Flag(name: .shortAndLong, help: "Ask nothing.")
    var yes = false

    @Option(
        help: ArgumentHelp(
            "Write the lines of this file, - for standard input, such as another user's `rum hosts` prints.",
            valueName: "file"), completion: .file())
    var from: String?

    @Option(help: ArgumentHelp("The file to write.", valueName: "file"), completion: .file())
    var file = "/etc/hosts"

    @Flag(help: "Print one JSON array.")
    var json = false

    @OptionGroup var talk: TalkOptions

    func validate() throws {
        if install, remove { throw ValidationError("give either --install or --remove, not both") }
        if from != nil, !install { throw ValidationError("--from is about --install, which is missing") }
        if json, install || remove { throw ValidationError("--json prints the lines; it writes no file") }
    }

    func run() async throws {
        let signals = TerminationSignals.stream()
        try await Foreground.run(until: signals) { try await work() }
    }

    private func work() async throws {
        if remove { return try await change([], "Take the lines of rum out of \(file)?") }
        if install {
            var lines = Entry.all.map(\.line)
            if let from { lines = try await Self.lines(of: from) }
            guard !lines.isEmpty else {
                throw CommandFailure(
                    "there are no machines, so there is nothing to write", hint: "`rum up` makes one")
            }
            return try await change(lines, "Write these lines to \(file)?")
        }
        let entries = Entry.all
        if json { return try await StandardOutput.line(entries.jsonLine) }
        if entries.isEmpty { return StandardError.line("rum: there are no machines; `rum up` makes one") }
        for entry in entries { try await StandardOutput.line(entry.line) }
    }

    /// A machine's name and where it leads.
    struct Entry: Encodable {
        var address: String
        var name: String
        var machine: String

        var line: String { "\(address)\t\(name)" }

        static var all: [Entry] {
            VirtualMachine.all(environment: ProcessInfo.processInfo.environment).map { machine in
                Entry(
                    address: "\(machine.ownAddress ?? .loopbackV4)",
                    name: ServiceName.machine(machine.config.name) + ".localhost",
                    machine: machine.config.name)
            }
        }
    }

    /// The lines of a file, each of which must be of the kind that this command prints: root may read it.
    private static func lines(of path: String) async throws -> [String] {
        var bytes: [UInt8] = []
        if path == "-" {
            for try await chunk in StandardInput.chunks() where bytes.count < limit { bytes += chunk }
        } else {
            do throws(SystemError) {
                bytes = try SmallFile.bytes(of: path, limit: limit)
            } catch {
                throw CommandFailure(
                    "cannot read \(path): \(error.reason)",
                    hint: "give a file of lines, or - for standard input")
            }
        }
        let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
        if let other = lines.first(where: { !HostsFile.isOurs($0) }) {
            throw CommandFailure(
                "\"\(other.printable(limit: 100))\" is no line of `rum hosts`",
                hint: "each has a loopback address and names that end in .localhost")
        }
        return lines
    }

    private static let limit = 1 << 20

    private func change(_ lines: [String], _ question: String) async throws {
        let user = CallingUser.id
        let writer = HostsWriter(path: file)
        let old = try writer.read()
        let new: [UInt8]
        do throws(HostsFile.Damaged) {
            new = try HostsFile(old).with(lines, of: user)
        } catch {
            throw CommandFailure(
                "\(file), line \(error.line): a mark of rum without its other one",
                hint: "take that line out by hand, with the lines of rum beside it")
        }
        guard new != old else { return StandardError.line("rum: \(file) is as it should be") }
        if !yes {
            for line in lines {
                StandardError.line(line.replacing("\t", with: " ").printable(limit: 300))
            }
            guard try await confirmed(question) else { return StandardError.line("rum: Nothing was written") }
        }
        try writer.replace(with: new)
        StandardError.line(
            lines.isEmpty ? "rum: Removed from \(file)" : "rum: Wrote \(lines.count) lines to \(file)")
    }

    private func confirmed(_ question: String) async throws -> Bool {
        guard isatty(STDIN_FILENO) == 1, StandardError.isTerminal else {
            throw CommandFailure(
                "\(file) is written after asking, and this is no terminal", hint: "give --yes", status: .usage
            )
        }
        StandardError.text("\(question) [y/N] ")
        var answer: [UInt8] = []
        for try await chunk in StandardInput.chunks() {
            answer += chunk
            if answer.contains(UInt8(ascii: "\n")) || answer.count > 100 { break }
        }
        let word = String(decoding: answer, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        return ["y", "yes"].contains(word.lowercased())
    }
}
