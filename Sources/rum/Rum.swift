import AgentAPI
import ArgumentParser
import CommandMain
import Foundation
import Machine

@main
struct Rum: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rum",
        abstract: "Boots a development VM and makes its services reachable on localhost.",
        discussion: """
            A program in the guest starts to listen on a port of [auto_ports], and the host listens on the same \
            port; it stops, and the host port closes. `rum init` writes a rum.toml, `rum up` starts the machine.
            """,
        version: rumVersion,
        subcommands: [
            InitCommand.self, UpCommand.self, DownCommand.self, DestroyCommand.self, StatusCommand.self,
            ListCommand.self, PortsCommand.self, HostsCommand.self, LogsCommand.self, ExecCommand.self,
            ShellCommand.self,
            SshCommand.self, SshConfigCommand.self,
            SshProxyCommand.self, CpCommand.self, ForwardCommand.self, AgentCommand.self, DoctorCommand.self,
            ImagesCommand.self,
            BackgroundCommand.self,
        ])

    func validate() throws {
        let environment = ProcessInfo.processInfo.environment
        guard let name = MachineFiles.relativeVariable(environment: environment) else { return }
        throw ValidationError("\(name): expected an absolute path, not \"\(environment[name] ?? "")\"")
    }

    static func main() async {
        StandardDescriptors.reserve()
        SessionFolder.find()
        await runToExit(leading: leading, amend: CompletionScript.offeringNames)
    }

    private static let leading = LeadingOptions(
        flags: ["-v", "--verbose", "--json"], valued: ["-c", "--config"])
}
