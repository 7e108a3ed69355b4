import AgentAPI
import AgentService
import ArgumentParser
import CommandMain
import ListenWatch
import Ports

@main
struct RumAgent: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rum-agent",
        abstract: "Tells a rum host what listens in this guest, and connects it there.",
        discussion: """
            Without a subcommand it is the daemon. It needs root for the kernel's tracepoint; without it, \
            changes are found by polling.
            """,
        version: rumVersion,
        subcommands: [ServeCommand.self, ListCommand.self, WatchCommand.self],
        defaultSubcommand: ServeCommand.self)

    static func main() {
        UserSwitch.runIfAsked()
        StandardDescriptors.reserve()
        AgentThread.run { await runToExit() }
    }
}

extension ListenMode: ExpressibleByArgument {}

/// How to find listeners, common to all subcommands.
struct WatchOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "netlink asks the kernel's sock_diag, procfs reads /proc/net/tcp and tcp6.",
            discussion: "Without it: netlink, and procfs where sock_diag is refused. With it: no fallback."))
    var mode: ListenMode?

    /// Starts a watcher, or ends the command with the reason. `hidden` are the agent's own listeners. Where its first table is all
    /// that is wanted, it knows the processes, and nothing is set up to hear of changes.
    func startedWatcher(
        isForOneTable: Bool = false, hidden: Set<ListeningSocket.Key> = [],
        note: @escaping @Sendable (String) -> Void = { _ in }, log: @escaping @Sendable (String) -> Void
    ) async throws -> ListenWatcher {
        var options = ListenWatcherOptions()
        options.mode = mode
        options.namesProcessesFirst = isForOneTable
        if isForOneTable { options.push = .poll }
        options.hidden = hidden
        (options.note, options.log) = (note, log)
        let watcher = ListenWatcher(options: options)
        do {
            try await watcher.start()
        } catch {
            let other = mode == .netlink ? ListenMode.procfs : .netlink
            throw CommandFailure(
                error.description, hint: mode.map { _ in "try --mode=\(other.rawValue), or no --mode" })
        }
        return watcher
    }
}
