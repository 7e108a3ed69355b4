import AgentAPI
import AgentChannel
import AgentSession
import ArgumentParser
import CommandMain
import Foundation
import Machine
import Ports

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the machine, its agent, and the forwards of a running `rum up`.")

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let machine = try options.machine()
        let status = try await explained { () async throws(MachineError) in try await machine.status() }
        var document = StatusDocument(status)
        if let running = status.running {
            document.agent = await Self.agent(of: running)
            document.up = await UpReportSocket.report(of: machine)
        }
        if talk.verbose { StandardError.line("rum: libvirt at \(status.libvirtURI)") }
        if json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            try StandardOutput.line(String(decoding: try encoder.encode(document), as: UTF8.self))
        } else {
            try StandardOutput.line(document.text)
        }
    }

    private static func agent(of running: RunningMachine) async -> StatusDocument.Agent {
        let dialer = AgentDialer(address: running.address, timeout: .seconds(2))
        do {
            let info = try await AgentConnection.with(
                token: running.token, firstAnswerWithin: AgentLimits.onlyAnswer
            ) {
                try await dialer.dial(.rpc)
            } _: {
                $0.info
            }
            return StatusDocument.Agent(info, address: running.address)
        } catch {
            return StatusDocument.Agent(problem: "\(AgentProblem(error))", address: running.address)
        }
    }
}

/// What `rum status` reports, as JSON or as text.
struct StatusDocument: Encodable {
    struct Agent: Encodable {
        var address: String
        var version: String?
        var hostname: String?
        var mode: String?
        var push: String?
        var degraded: String?
        var problem: String?

        init(_ info: AgentInfo, address: AgentAddress) {
            self.address = address.description
            version = info.version
            hostname = info.hostname
            mode = info.source.mode.rawValue
            push = info.source.push.rawValue
            degraded = info.source.degraded
        }

        init(problem: String, address: AgentAddress) {
            self.address = address.description
            self.problem = problem
        }

        var text: String {
            if let problem { return "does not answer: \(problem)" }
            let words = [
                version, mode.map { "mode \($0)" }, push.map { "push \($0)" },
                degraded.map { "degraded: \($0)" },
            ]
            return words.compactMap { $0 }.joined(separator: ", ") + " (\(address))"
        }
    }

    var name: String
    var state: String
    var libvirt_uri: String
    var directory: String?
    var accelerator: String?
    var channel: String?
    var agent: Agent?
    var up: UpReport?

    init(_ status: MachineStatus) {
        name = status.name
        state = status.state.rawValue
        libvirt_uri = status.libvirtURI
        directory = status.directory
        accelerator = status.running?.accelerator
        channel = status.running?.channel
    }

    /// One line a fact, then one a forward.
    var text: String {
        var rows = [("machine", "\(name): \(state)")]
        if let accelerator { rows.append(("accelerator", accelerator)) }
        if let channel { rows.append(("channel", channel)) }
        if let agent { rows.append(("agent", agent.text)) }
        if let up {
            rows.append(
                ("rum up", "runs (pid \(up.pid))" + (up.agent_problem.map { ", agent lost: \($0)" } ?? "")))
            rows += up.forwards.map { ("forward", $0.text) }
        } else if agent != nil {
            rows.append(("rum up", "does not run, so nothing is forwarded"))
        }
        return rows.map { $0.0.padding(toLength: 13, withPad: " ", startingAt: 0) + $0.1 }.joined(
            separator: "\n")
    }
}

extension UpReport.Forward {
    fileprivate var text: String {
        let host = bind.contains(":") ? "[\(bind)]:\(host_port)" : "\(bind):\(host_port)"
        let guest =
            guest_address == nil ? "guest:\(guest_port), where nothing listens" : "guest:\(guest_port)"
        let program = process.map { " (\($0), pid \(pid ?? 0))" } ?? ""
        return "\(host) → \(kind == "auto" ? "guest:\(guest_port)" : guest)\(program)"
            + (reason.map { ", blocked: \($0)" } ?? "")
    }
}
