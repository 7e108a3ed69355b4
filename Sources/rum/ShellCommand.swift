import ArgumentParser
import CommandMain
import Foundation
import Machine

struct ShellCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shell",
        abstract: "Open a shell in the guest, as the machine's user.",
        discussion: """
            It is the user's login shell, on a terminal where this is one. It needs neither network nor sshd in the \
            guest.
            """)

    @OptionGroup var options: MachineOptions
    @OptionGroup var place: ExecPlace
    @OptionGroup var talk: TalkOptions

    func run() async throws {
        var request = try place.request()
        request.isLoginShell = true
        request.hasTerminal = isatty(STDIN_FILENO) == 1 && StandardOutput.isTerminal
        let machine = try options.choice.machineToReach()
        try await ExecSession(machine: machine, verbose: talk.verbose).run(request)
    }
}
