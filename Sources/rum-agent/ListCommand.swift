import ArgumentParser
import CommandMain
import ListenWatch
import Ports

struct ListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Print what listens now, then exit.")

    @OptionGroup var watch: WatchOptions
    @OptionGroup var rendering: TableRendering

    func run() async throws {
        let watcher = try await watch.startedWatcher(isForOneTable: true) {
            StandardError.line("rum-agent: \($0)")
        }
        defer { watcher.stop() }
        try await StandardOutput.line(rendering.text(of: watcher.current(in: rendering.range)))
    }
}

struct WatchCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "watch", abstract: "Print one line per changed table, until interrupted.")

    @OptionGroup var watch: WatchOptions
    @OptionGroup var rendering: TableRendering

    func run() async throws {
        let signals = TerminationSignals.stream()
        let watcher = try await watch.startedWatcher { StandardError.line("rum-agent: \($0)") }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await _ in signals { throw ExitCode(ExitStatus.interrupted.rawValue) }
            }
            group.addTask { try await StandardOutput.untilBroken() }
            group.addTask {
                for await table in watcher.tables(in: rendering.range) {
                    try await StandardOutput.line(rendering.lineText(of: table))
                }
            }
            defer {
                group.cancelAll()
                watcher.stop()
            }
            try await group.next()
        }
    }
}
