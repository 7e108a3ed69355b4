import ArgumentParser
import CommandMain
import Machine
import Ports
import Router

struct UpCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "up",
        abstract: "Create or start the machine and forward its ports until Ctrl-C, or in the background.",
        discussion: """
            Ctrl-C closes the forwards and leaves the machine running; `rum up` forwards again, `rum down` stops \
            the machine. With -d it returns when the agent is ready, and a background process forwards until the \
            machine stops. Where one forwards already, `rum up` shows what it does until Ctrl-C, which leaves it \
            running. A changed configuration is told, with when it takes effect; changed ports are forwarded at once, and \
            connections through the others go on.
            """)

    @OptionGroup var options: MachineOptions
    @OptionGroup var output: EventOutput

    @Flag(
        name: [.customShort("d"), .customLong("detach")],
        help: "Return when the agent is ready; forward in the background.")
    var isDetached = false

    @Flag(help: "Start from a fresh disk; what is on the old one is lost.")
    var reset = false

    @Option(
        help: ArgumentHelp(
            "Say when the program behind this host port accepts connections, and fail when it does not in time; may be repeated. With -d, return then.",
            valueName: "port"),
        transform: PortNumber.read)
    var wait: [PortNumber] = []

    @Option(
        help:
            "How long to wait for the agent in the guest, and then for the ports of --wait, such as 90s or 10m (default: 600s).",
        transform: DurationArgument.read)
    var timeout = DurationArgument(.seconds(600))

    func run() async throws {
        let signals = TerminationSignals.stream()
        // Before anything is touched.
        _ = try RouterPorts.configured()
        let machine = try options.choice.configuredMachine()
        let session = UpSession(
            machine: machine, output: output, agentTimeout: timeout, reset: reset,
            isDetached: isDetached, awaited: wait)
        do {
            try await Foreground.run(until: signals, whileRead: !isDetached) { try await session.run() }
        } catch let code as ExitCode where code.rawValue == ExitStatus.interrupted.rawValue {
            session.sayGoodbye()
            throw code
        } catch let broken as BrokenOutput {
            session.sayGoodbye()
            throw broken
        }
    }
}
