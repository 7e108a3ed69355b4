import ArgumentParser
import CommandMain
import Machine
import RumConfig

struct DownCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "down", abstract: "Shut the machine down; turn it off when that takes too long.")

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    @Option(
        help: ArgumentHelp(
            "How long the guest may take to shut down, such as 30s or 2m (default: \(DurationArgument(MachineLimits.shutdown)))."
        ),
        transform: DurationArgument.read)
    var timeout = DurationArgument(MachineLimits.shutdown)

    func run() async throws {
        let machine = try options.choice.machine()
        let progress = ProgressPrinter()
        if talk.verbose { progress.say("libvirt: \(machine.libvirtURI)") }
        let outcome = try await explained { () async throws(MachineError) in
            try await machine.down(timeout: timeout.duration) { progress.show($0) }
        }
        // Of itself it ends with the machine; one that did not notice must not stay.
        try await OwnerLink(machine).end()
        switch outcome {
        case .wasNotRunning: progress.say("\(machine.config.name) was not running")
        case .orderly: progress.say("\(machine.config.name) has shut down")
        case .forced: progress.say("\(machine.config.name) was turned off")
        }
    }
}
