import ArgumentParser
import CommandMain
import Foundation
import Machine

struct AgentCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent", abstract: "Bring the agent to a machine that `rum up` has not started.",
        subcommands: [AgentInstall.self])
}

struct AgentInstall: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "install", abstract: "Install the agent over ssh in any Linux machine, and start it.",
        discussion: """
            Then `rum forward --agent ssh:HOST` forwards its ports. The machine is x86-64, with systemd or without. It is \
            called what ssh calls it: what ~/.ssh/config says of it holds, and ssh asks its questions on the terminal. The \
            user there is root, or becomes root by sudo or doas without a password. The agent is started at every boot. It \
            listens on the machine's loopback address alone, and asks for a token, which is made here and kept in rum's own \
            folder. The same command brings a newer agent.
            """)

    @Option(
        help: ArgumentHelp(
            "The file with the token, made if there is none; else one in rum's own folder.",
            valueName: "file"),
        completion: .file())
    var tokenFile: String?

    @OptionGroup var talk: TalkOptions

    @Argument(help: ArgumentHelp("The machine, as ssh knows it.", valueName: "[user@]host"))
    var machine: String

    func validate() throws { try SSHDestination.check(machine) }

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        let signals = TerminationSignals.stream()
        try await Foreground.run(until: signals) {
            let warnings = try await explained { () async throws(MachineError) in
                let agent = try RemoteAgent(destination: machine, environment: environment)
                let path = tokenFile ?? agent.tokenFile
                if talk.verbose { StandardError.line("rum: token: \(path)") }
                StandardError.line("rum: Copying the agent to \(machine)")
                return try await agent.install(
                    bundle: MachineChoice.agentBundle(environment), tokenFile: path)
            }
            for warning in warnings { StandardError.line("rum: \(machine) says: \(warning)") }
            StandardError.line("rum: The agent runs on \(machine). Its ports are forwarded by:")
            let words = ["rum", "forward", "--agent", "ssh:\(machine)"]
            let more = tokenFile.map { ["--token-file", $0] } ?? []
            try await StandardOutput.line(
                (words + more + ["--auto", "5000-6000"]).map(SshSettings.shellQuoted).joined(separator: " "))
        }
    }
}
