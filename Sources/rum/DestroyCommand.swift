import ArgumentParser
import CommandMain
import Machine
import RumConfig

struct DestroyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "destroy", abstract: "Remove the machine with its disk and all its files.")

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    func run() async throws {
        let machine = try options.choice.machine()
        let progress = ProgressPrinter()
        if talk.verbose { progress.say("folder: \(machine.files.directory)") }
        _ = try await explained { () async throws(MachineError) in try await machine.checkDestroyable() }
        // Before its files go.
        try await OwnerLink(machine).end()
        let existed = try await explained { () async throws(MachineError) in
            try await machine.destroy { progress.show($0) }
        }
        progress.say(
            existed ? "\(machine.config.name) is removed" : "there is no machine \(machine.config.name)")
    }
}
