import AgentChannel
import ArgumentParser
import CommandMain
import Control
import Foundation
import Linux
import Machine
import RumConfig

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list",
        abstract: "Show all machines, and each `rum forward` with a name: state and forwards.")

    @OptionGroup var talk: TalkOptions

    @Flag(help: "Print one JSON array.")
    var json = false

    func run() async throws {
        var rows: [Row] = []
        let environment = ProcessInfo.processInfo.environment
        for machine in VirtualMachine.all(environment: environment, tell: ProgressPrinter().show) {
            rows.append(await Row(machine))
        }
        for forward in ForwardFiles.all(environment: environment) {
            if let row = await Row(forward) { rows.append(row) }
        }
        if json { return try await StandardOutput.line(rows.jsonLine) }
        if rows.isEmpty { return StandardError.line("rum: there are no machines; `rum up` makes one") }
        for row in rows {
            try await StandardOutput.line(row.text)
            if talk.verbose { StandardError.line("rum: \(row.name): \(row.directory)") }
        }
    }

    /// One machine, or one `rum forward` that has a name.
    struct Row: Encodable {
        var name: String
        /// As in `rum status`; `unknown` where libvirt does not answer, `forwarded` for a `rum forward`.
        var state: String
        /// Where its agent is, while it runs.
        @OrNull var address: String? = nil
        /// The loopback address that it has to itself, once it asked for one.
        @OrNull var ownAddress: String? = nil
        /// nil for a `rum forward`.
        @OrNull var config: String? = nil
        var directory: String
        /// The host ports that are open.
        var forwards: [String]
        /// Where its page is, while its ports are reached by name.
        @OrNull var url: String? = nil
        @OrNull var problem: String? = nil

        enum CodingKeys: String, CodingKey {
            case name, state, address, config, directory, forwards, url, problem
            case ownAddress = "own_address"
        }

        var text: String {
            var columns = [
                name.padding(to: 20), state.padding(to: 9), (ownAddress ?? "").padding(to: 15),
                config ?? "by rum forward",
            ]
            columns += forwards.isEmpty ? [] : [forwards.joined(separator: " ")]
            columns += [url, problem].compactMap { $0 }
            return columns.map { $0.printable(limit: 1000) }.joined(separator: "  ")
        }
    }
}

extension ListCommand.Row {
    init(_ machine: VirtualMachine) async {
        self.init(
            name: machine.config.name, state: "unknown", ownAddress: machine.ownAddress?.description,
            config: machine.config.file, directory: machine.files.directory, forwards: [])
        do throws(MachineError) {
            let status = try await machine.status()
            state = status.state.rawValue
            address = status.running?.address.description
        } catch {
            problem = error.message
        }
        await ask(OwnerLink(machine))
    }

    /// nil when it has ended.
    init?(_ forward: ForwardFiles) async {
        self.init(name: forward.name, state: "forwarded", directory: forward.directory, forwards: [])
        guard await ask(OwnerLink(forward)) else { return nil }
    }

    /// Notes what the process that forwards knows; false when there is none.
    @discardableResult
    private mutating func ask(_ link: OwnerLink) async -> Bool {
        do throws(CommandFailure) {
            guard let report = try await link.report() else { return false }
            forwards = report.forwards.filter(\.isOpen).map(\.hostText)
            url = report.url
            problem = problem ?? (link.kind == .command ? report.agentProblem : nil)
        } catch {
            problem = problem ?? error.message
        }
        return true
    }
}
