import ArgumentParser
import CommandMain
import Foundation
import Machine

struct SshCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh",
        abstract: "Open an ssh session in the guest, or run a command by ssh.",
        usage: "rum ssh [<name>] [--] [<argument of ssh> ...]",
        discussion: """
            It is the ssh of this host. It goes through the guest's agent, so it needs neither an open port nor a \
            network in the guest, but an sshd there. Host and guest know each other's keys from the machine's first \
            start. What follows the name is ssh's: options such as `-L 8080:localhost:80`, then a command.

            The first word is the machine's name if a machine of that name exists, or if `--` follows it. \
            `rum ssh-config` makes `ssh rum-NAME`, rsync and editors find the way as well.
            """)

    @OptionGroup var file: ConfigOption

    @Argument(
        parsing: .captureForPassthrough,
        help: ArgumentHelp("The machine's name if it is one, and what ssh gets.", valueName: "argument"),
        completion: .custom { _, _, _ in machineNames() })
    var words: [String] = []

    func validate() throws {
        if words.isRequestForHelp { throw CleanExit.helpRequest(self) }
        _ = try choice
    }

    private var choice: MachineChoice {
        get throws(ValidationError) { try MachineChoice(name: MachineWords(words).name, config: file.config) }
    }

    func run() async throws {
        let machine = try choice.machineToReach()
        let settings = try SshSettings(machine)
        // Told here in one sentence; ssh would add its own about a broken connection.
        _ = try await ExecSession(machine: machine, verbose: false).runningMachine()
        try SshProgram.become("ssh", settings.options + [settings.host] + MachineWords(words).rest)
    }
}

struct SshConfigCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ssh-config",
        abstract: "Print how OpenSSH reaches the machine, for ~/.ssh/config.",
        discussion: """
            With `rum ssh-config dev >>~/.ssh/config` all that uses OpenSSH reaches the machine as rum-dev: ssh, scp, \
            rsync, git, sshfs, Visual Studio Code's Remote-SSH. It stays right over restarts and `rum up --reset`.
            """)

    @OptionGroup var options: MachineOptions
    @OptionGroup var talk: TalkOptions

    func run() async throws {
        let settings = try SshSettings(try options.choice.machine())
        if talk.verbose { StandardError.line("rum: folder: \(settings.machine.files.directory)") }
        try await StandardOutput.line(settings.file)
    }
}
