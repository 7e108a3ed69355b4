import AgentChannel
import AgentSession
import ArgumentParser
import CommandMain
import HostForward
import Linux
import PortForward
import Ports
import Relay
import RumConfig

struct ForwardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "forward",
        abstract: "Forward ports of any machine that runs rum-agent, whoever started it.")

    @Option(
        help: ArgumentHelp(
            "Where the agent is: vsock:CID, unix:DIR, hybrid:PATH, tcp:HOST[:PORT], or ssh:[USER@]HOST.",
            discussion: "ssh: reaches one that `rum agent install` has installed.", valueName: "address"),
        completion: .custom { _, _, _ in
            ["vsock:", "unix:", "hybrid:", "tcp:", "ssh:"].map(\.forRequestingShell)
        },
        transform: { try ForwardSource(text: $0) })
    var agent: ForwardSource

    @Option(
        help: ArgumentHelp(
            "Forward guest ports of this range while something listens.", valueName: "min-max"),
        transform: PortRange.read)
    var auto: PortRange?

    @Option(
        help: ArgumentHelp("A port of --auto to leave alone; may be repeated.", valueName: "port"),
        transform: PortNumber.read)
    var ignore: [PortNumber] = []

    @Option(
        help: ArgumentHelp(
            "Forward so many ports of --auto at once at the most (default: \(AutoPorts.defaultMax)).",
            valueName: "count"))
    var max: Int?

    @Option(
        help: ArgumentHelp("Always forward this port; may be repeated.", valueName: "[bind:]host:guest"),
        transform: StaticPort.read)
    var port: [StaticPort] = []

    @Option(
        help: "Where --auto binds: an address, or localhost for 127.0.0.1 and ::1 (default: 127.0.0.1).",
        transform: BindAddress.read)
    var bind = BindAddress.loopback

    @Option(
        help: ArgumentHelp(
            "Who on this host may connect to forwards on loopback: me, which is you and root, or host, which is every user.",
            valueName: "me|host"))
    var allow = AllowedClients.me

    @Option(
        help: ArgumentHelp(
            "Have clients of --auto wait so long for a program that restarts, such as 2s, instead of resetting them.",
            valueName: "time"),
        transform: DurationArgument.read)
    var hold: DurationArgument?

    @Flag(help: "Tell programs behind --auto the client's address by the PROXY protocol, version 2.")
    var proxyProtocol = false

    @Option(
        help: ArgumentHelp(
            "Let clients come by name too, as to a machine: http://PORT.NAME.localhost:7000/. `rum ports NAME` and `rum list` show what is forwarded.",
            valueName: "name"))
    var name: String?

    @Flag(help: "Ask for the ports each second even where the agent offers a stream.")
    var poll = false

    @Option(
        help: ArgumentHelp(
            "A file with the machine's token, where the agent asks for one; after `rum agent install` it is known.",
            valueName: "file"),
        completion: .file())
    var tokenFile: String?

    @OptionGroup var output: EventOutput

    func validate() throws {
        if auto == nil, port.isEmpty {
            throw ValidationError("nothing to forward: give --auto MIN-MAX, --port HOST:GUEST, or both")
        }
        if auto == nil, !ignore.isEmpty || poll || max != nil || hold != nil || proxyProtocol {
            throw ValidationError(
                "--ignore, --max, --poll, --hold and --proxy-protocol are about --auto, which is missing")
        }
        if let hold, hold.duration > ForwardSettings.longestHold {
            throw ValidationError("--hold: expected 60s at the most, not \(hold)")
        }
        if let max, !(1...AutoPorts.mostAllowed).contains(max) {
            throw ValidationError("--max: expected a number from 1 to \(AutoPorts.mostAllowed), not \(max)")
        }
        if let name, !MachineName.isValid(name) {
            throw ValidationError("--name: expected \(MachineName.rule), not \"\(name)\"")
        }
        if case .ssh(let machine) = agent { try SSHDestination.check(machine) }
        if case .address(.tcp) = agent, tokenFile == nil {
            throw ValidationError("an agent reached over tcp asks for a token: give --token-file")
        }
        var hosts: Set<String> = []
        for forward in port {
            for address in forward.bind.addresses where !hosts.insert("\(address) \(forward.host)").inserted {
                throw ValidationError("--port: host port \(forward.host) is given twice")
            }
            if let auto, auto.contains(forward.host), !ignore.contains(forward.host) {
                throw ValidationError(
                    "--port: host port \(forward.host) lies in --auto \(auto); --ignore it there")
            }
        }
    }

    /// One for all ports where there is something to say.
    private var rules: [PortRule] {
        var rule = PortRule()
        (rule.settings.hold, rule.settings.proxyProtocol) = (hold?.duration, proxyProtocol)
        return rule == PortRule() ? [] : [rule]
    }

    func run() async throws {
        let signals = TerminationSignals.stream()
        let way = try agent.way(tokenFile: tokenFile)
        let policy = ForwardPolicy(
            staticPorts: port.map { .init(bind: $0.bind, host: $0.host, guest: $0.guest, allow: allow) },
            autoPorts: auto.map {
                .init(
                    range: $0, bind: bind, ignore: Set(ignore), allow: allow,
                    max: max ?? AutoPorts.defaultMax, rules: rules)
            })
        let named = try name.map { try NamedForward($0, output: output) }
        let engine = try RelayEngine.forHost(output)
        let session = ForwardSession(
            agent: way.address, token: way.token, policy: policy, alwaysPoll: poll, engine: engine,
            emit: named?.voice.tell ?? output.print)
        try await Foreground.run(until: signals, whileRead: true) {
            try await way.whileOpen {
                guard let named else {
                    return try await output.retelling(session) { try await session.run(waiting: tell) }
                }
                let guest = GuestQuestions(address: way.address, token: way.token)
                try await named.run(session, engine, guest) { greet in
                    try await output.retelling(session) {
                        try await session.run(waiting: tell) { _ in greet() }
                    }
                }
            }
        }
    }

    /// Says what is in the way until the agent answers for the first time; later the session's events tell.
    private func tell(_ waiting: AgentWaiting) throws(CommandFailure) {
        if waiting.problem == .tokenRefused {
            throw CommandFailure(
                "the agent at \(agent) refuses the token",
                hint: "give the file with this machine's token as --token-file")
        }
        guard waiting.isNews else { return }
        StandardError.line("rum: Waiting for the agent: \(waiting.problem)")
        if let hint = waiting.problem.hint { StandardError.line("hint: \(hint)") }
    }
}
