import AgentAPI
import AgentChannel
import AgentSession
import ArgumentParser
import CommandMain
import Control
import Foundation
import Linux
import Machine
import Ports

struct StatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the machine, its agent, and its forwards.")

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let machine = try options.choice.machine()
        let status = try await explained { () async throws(MachineError) in try await machine.status() }
        var document = StatusDocument(status)
        if let running = status.running {
            document.agent = await Self.agent(of: running)
            if document.agent?.problem == nil {
                let state = await Provisioning(machine: running).state(timeout: Self.answerTimeout)
                document.provisioning = state.map(StatusDocument.Provision.init)
            }
        }
        // Ports stay open while a machine is suspended.
        if [.running, .paused, .sleeping].contains(status.state) {
            await document.ask(OwnerLink(machine), socket: machine.files.controlSocket)
        }
        if talk.verbose { StandardError.line("rum: libvirt at \(status.libvirtURI)") }
        try await StandardOutput.line(json ? document.jsonLine : document.text)
    }

    /// A status is asked for by people and scripts that wait.
    static let answerTimeout = Duration.seconds(2)

    private static func agent(of running: RunningMachine) async -> StatusDocument.Agent {
        let dialer = AgentDialer(address: running.address, timeout: answerTimeout)
        do {
            let info = try await AgentConnection.with(dialer, token: running.token) { $0.info }
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
        @OrNull var version: String? = nil
        @OrNull var hostname: String? = nil
        @OrNull var mode: String? = nil
        @OrNull var push: String? = nil
        @OrNull var pushReason: String? = nil
        @OrNull var degraded: String? = nil
        @OrNull var problem: String? = nil

        init(_ info: AgentInfo, address: AgentAddress) {
            self.address = address.description
            version = info.version
            hostname = info.hostname
            mode = info.source.mode.rawValue
            push = info.source.push.rawValue
            pushReason = info.pushReason
            degraded = info.source.degraded
        }

        init(problem: String, address: AgentAddress) {
            self.address = address.description
            self.problem = problem
        }

        enum CodingKeys: String, CodingKey {
            case address, version, hostname, mode, push, degraded, problem
            case pushReason = "push_reason"
        }

        var text: String {
            if let problem { return "does not answer: \(problem)" }
            let words = [
                version, mode.map { "mode \($0)" },
                push.map { "push \($0)" + (pushReason.map { " (\($0))" } ?? "") },
                degraded.map { "degraded: \($0)" },
            ]
            return words.compactMap { $0 }.joined(separator: ", ") + " (\(address))"
        }
    }

    struct Provision: Encodable {
        var state: String
        @OrNull var script: String? = nil
        var code: Int
        var seconds: Int
        private let text: String

        init(_ state: ProvisionState) {
            self.state = state.progress.rawValue
            script = state.script
            code = state.code
            seconds = state.seconds
            text = state.text
        }

        enum CodingKeys: String, CodingKey {
            case state, script, code, seconds
        }

        /// nil when there is nothing to tell: no script was run.
        var line: String? {
            script == nil && state == ProvisionState.Progress.succeeded.rawValue ? nil : text
        }
    }

    var name: String
    var state: String
    var libvirtURI: String
    @OrNull var directory: String? = nil
    @OrNull var accelerator: String? = nil
    @OrNull var channel: String? = nil
    @OrNull var agent: Agent? = nil
    @OrNull var provisioning: Provision? = nil
    @OrNull var up: OwnerReport? = nil
    /// Why the process that owns the forwards does not tell of them.
    @OrNull var upProblem: String? = nil

    enum CodingKeys: String, CodingKey {
        case name, state, directory, accelerator, channel, agent, provisioning, up
        case upProblem = "up_problem"
        case libvirtURI = "libvirt_uri"
    }

    init(_ status: MachineStatus) {
        name = status.name
        state = status.state.rawValue
        libvirtURI = status.libvirtURI
        directory = status.directory
        accelerator = status.running?.accelerator
        channel = status.running?.channel
    }

    /// A line for each fact, then a line for each forward.
    var text: String {
        var rows = [("machine", "\(name): \(state)")]
        if let accelerator { rows.append(("accelerator", accelerator)) }
        if let channel { rows.append(("channel", channel)) }
        if let agent { rows.append(("agent", agent.text)) }
        if let line = provisioning?.line { rows.append(("provisioning", line)) }
        if let up {
            let place = up.isBackground ? "runs in the background" : "runs"
            let version = up.rum == rumVersion ? "" : ", rum \(up.rum): `rum up -d` replaces it"
            rows.append(
                (
                    "rum up",
                    "\(place) (pid \(up.pid)\(version))"
                        + (up.agentProblem.map { ", agent lost: \($0)" } ?? "")
                ))
            if let url = up.url { rows.append(("by name", url)) }
            rows += up.forwards.map { ("forward", $0.text(isGuestKnown: up.agentProblem == nil)) }
        } else if let upProblem {
            rows.append(("rum up", upProblem))
        } else if agent != nil {
            rows.append(
                ("rum up", "does not run, so nothing is forwarded; `rum up -d` forwards in the background"))
        }
        // Much of it comes from the guest: it must not reach the terminal as it is.
        return rows.map { $0.0.padding(to: 13) + $0.1.printable(limit: 1000) }.joined(separator: "\n")
    }
}

extension StatusDocument {
    /// Asks the process that owns the forwards.
    mutating func ask(_ link: OwnerLink, socket: String) async {
        do throws(CommandFailure) {
            up = try await link.report()
            // In order, a socket goes with its owner.
            if up == nil, FileManager.default.fileExists(atPath: socket) {
                upProblem = "has ended without a word, so nothing is forwarded; `rum up -d` starts it again"
            }
        } catch {
            upProblem = error.message
        }
    }
}
