import ArgumentParser
import CommandMain
import Foundation
import Linux
import Machine
import RumConfig

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Check whether this host can run machines, and tell the cure for what is amiss.",
        discussion: """
            It looks for what the machine of rum.toml would use, or one with the defaults where there is none, and \
            changes nothing. The exit code is 1 when something stops `rum up`.
            """)

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let signals = TerminationSignals.stream()
        let (machine, configuration) = try subject()
        let (json, isVerbose) = (json, talk.verbose)
        try await Foreground.run(until: signals) {
            let progress = ProgressPrinter()
            if isVerbose { progress.say("libvirt: \(machine.libvirtURI)") }
            let findings =
                [configuration] + (await HostCheck(machine: machine) { progress.show($0) }.findings())
            let failed = findings.filter { $0.status == .fail }
            if json {
                try await StandardOutput.line(Report(ok: failed.isEmpty, findings: findings).jsonLine)
            } else {
                for finding in findings {
                    try await StandardOutput.line(Self.text(finding, isColoured: Colours.areWanted))
                }
            }
            guard !failed.isEmpty else { return }
            throw CommandFailure(
                failed.count == 1 ? "one thing stops `rum up`" : "\(failed.count) things stop `rum up`",
                hint: "do what stands behind \"cure\", then run `rum doctor` again")
        }
    }

    struct Report: Encodable {
        var ok: Bool
        var findings: [HostFinding]
    }

    /// The machine to look from, and what its configuration is worth.
    private func subject() throws -> (VirtualMachine, HostFinding) {
        let environment = ProcessInfo.processInfo.environment
        let choice = try options.choice
        let path = try choice.configPath()
        let isGiven = choice.config != nil || choice.name != nil
        var config = MachineConfig(name: "dev", file: path)
        config.image = NamedImage.named(InitAnswers(path: path).image).map { .init(base: .named($0)) }
        let finding: HostFinding
        if !isGiven, !FileManager.default.fileExists(atPath: path) {
            finding = HostFinding(
                "rum.toml", .ok, "there is none here: looked with the defaults; `rum init` writes one")
        } else {
            do throws(ConfigErrors) {
                config = try MachineConfig.load(path: path)
                finding = HostFinding("rum.toml", .ok, "\(path) is in order")
            } catch {
                finding = HostFinding("rum.toml", .fail, error.description, cure: error.hint)
            }
        }
        let machine = VirtualMachine(
            config: config, agentBundle: MachineChoice.agentBundle(environment), environment: environment)
        return (machine, finding)
    }

    /// One line, and one for the cure.
    static func text(_ finding: HostFinding, isColoured: Bool) -> String {
        let colour =
            switch finding.status {
            case .ok: Colours.green
            case .warn: Colours.yellow
            case .fail: Colours.red
            }
        let status = finding.status.rawValue.padding(to: 4)
        let check = finding.check.padding(to: 12)
        let lines = finding.message.split(separator: "\n").map { $0.printable(limit: 1000) }
        let indent = "\n" + String(repeating: " ", count: 19)
        var text =
            "\(isColoured ? colour + status + Colours.end : status)  \(check) \(lines.joined(separator: indent))"
        if let cure = finding.cure { text += "\(indent)cure: \(cure.printable(limit: 1000))" }
        return text
    }
}

/// Colours for standard output, where somebody sees them.
enum Colours {
    static let green = "\u{1b}[32m"
    static let yellow = "\u{1b}[33m"
    static let red = "\u{1b}[31m"
    static let end = "\u{1b}[0m"

    /// On a terminal that has them, unless NO_COLOR says otherwise (no-color.org).
    static var areWanted: Bool {
        let environment = ProcessInfo.processInfo.environment
        return StandardOutput.isTerminal && (environment["NO_COLOR"] ?? "").isEmpty
            && environment["TERM"] != "dumb"
    }
}
