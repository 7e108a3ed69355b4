import ArgumentParser
import CommandMain
import Control
import Linux

struct PortsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ports",
        abstract: "Show every forward; wait for one, explain one, add, remove, allow and deny some.",
        subcommands: [
            PortsShow.self, PortsWait.self, PortsWhy.self, PortsAdd.self, PortsRemove.self,
            PortsAllow.self, PortsDeny.self, PortsForget.self, PortsAnswers.self,
        ],
        defaultSubcommand: PortsShow.self)
}

/// `rum ports` without a further word. Apart from the group, whose own arguments would swallow the others' names.
struct PortsShow: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show every forward.",
        usage: "rum ports [<name>] [-c <file>] [-v] [--watch] [--json]",
        discussion: """
            Each line has the host's address, the guest's, the process that listens there, connections and bytes so \
            far, and the time from its listen() to the open port.
            """)

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    @Flag(
        name: .shortAndLong,
        help: "Go on: redraw on a terminal, elsewhere a line for each event; until Ctrl-C.")
    var watch = false

    @Flag(help: "Print one JSON array; with --watch, one object for each event.")
    var json = false

    func run() async throws {
        let signals = watch ? TerminationSignals.stream() : nil
        let forwarded = try options.choice.forwarded()
        let link = forwarded.link
        if let signals {
            return try await Foreground.run(until: signals, whileRead: true) {
                try await PortsWatch(link: link, json: json, verbose: talk.verbose).run()
            }
        }
        guard let report = try await link.report() else {
            let answer = await forwarded.withoutOwner()
            throw CommandFailure(answer.sentence, hint: answer.hint)
        }
        if json { return try await StandardOutput.line(report.forwards.jsonLine) }
        let width = StandardOutput.isTerminal ? TerminalSize.current?.columns : nil
        for line in PortsTable(report).lines(width: width) { try await StandardOutput.line(line) }
        for note in report.notes(link.kind) { StandardError.line("rum: \(note.printable(limit: 1000))") }
        if talk.verbose {
            StandardError.line("rum: forwarded by rum \(report.rum) (pid \(report.pid))")
        }
    }
}

extension OwnerReport {
    /// What is to be said beside the forwards.
    func notes(_ kind: ForwardsKind) -> [String] {
        var notes: [String] = []
        if let url, !forwards.isEmpty { notes.append("by name: \(url) lists them") }
        if let agentProblem { notes.append("the guest's agent does not answer: \(agentProblem)") }
        if forwards.isEmpty {
            if let autoRange {
                // Of a guest that does not answer it is not known.
                if agentProblem == nil {
                    notes.append("nothing listens in the range \(autoRange) of \(kind.automatic)")
                }
            } else {
                notes.append("there is neither \(kind.fixed) nor \(kind.automatic)")
            }
        }
        return notes
    }
}
