import AgentAPI
import ArgumentParser
import CommandMain

@main
struct Rum: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rum",
        abstract: "Boots a development VM and makes its services reachable on localhost.",
        discussion: """
            A program in the guest starts to listen on a port of [auto_ports], and the host listens on the same \
            port; it stops, and the host port closes. Write a rum.toml, run `rum up`.
            """,
        version: rumVersion,
        subcommands: [
            UpCommand.self, DownCommand.self, DestroyCommand.self, StatusCommand.self, ListCommand.self,
            ExecCommand.self,
            ForwardCommand.self, ImagesCommand.self,
        ])

    static func main() async { await runToExit() }
}
