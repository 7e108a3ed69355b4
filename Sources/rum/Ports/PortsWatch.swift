import CommandMain
import Control
import Foundation
import Linux
import Synchronization

/// `rum ports --watch`: the table, always as it is, or the events as lines.
struct PortsWatch {
    /// Connections and bytes have no events of their own.
    private static let interval = Duration.seconds(1)
    /// So fast it is drawn at the most; a storm of events is one picture.
    private static let pause = Duration.milliseconds(50)

    let link: OwnerLink
    let json: Bool
    let verbose: Bool

    /// Until the forwards end or the task is cancelled.
    func run() async throws {
        guard try await link.hello() != nil else {
            throw CommandFailure.nothingForwards(link.machine, link.kind)
        }
        let kind = ProcessInfo.processInfo.environment["TERM"]
        guard StandardOutput.isTerminal, Screen.isUnderstood(by: kind), !json else {
            var output = EventOutput()
            output.json = json
            output.verbose = verbose
            return try await OwnerFollower(link: link, output: output, progress: ProgressPrinter()).run(
                until: .end)
        }
        try await StandardOutput.bytes(Array("\(Screen.enter)".utf8))
        Screen.leaveAtStops()
        var failure: (any Error)?
        do {
            try await draw()
        } catch {
            failure = error
        }
        Screen.letStopsBe()
        // Whatever has happened, and also in a task that is cancelled: the terminal gets back what it showed.
        await Task { try? await StandardOutput.bytes(Array("\(Screen.leave)".utf8)) }.value
        if let failure { throw failure }
        if !Task.isCancelled { StandardError.line("rum: the forwards of \(link.machine) have ended") }
    }

    private func draw() async throws {
        let changes = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingNewest(1))
        let changed = changes.continuation
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    changed.yield()
                    try await Task.sleep(for: Self.interval)
                }
            }
            group.addTask {
                for await _ in TerminalSize.changes() { changed.yield() }
                await Task.untilCancelled()
            }
            group.addTask {
                for try await message in link.messages(.events) {
                    if case .event = message { changed.yield() }
                }
                // Who reads too slowly is dropped; the table is still asked for.
                await Task.untilCancelled()
            }
            group.addTask {
                for await _ in changes.stream {
                    guard let report = try await link.report() else { return }
                    let size = TerminalSize.current ?? TerminalSize(columns: 80, rows: 24)
                    let picture = Screen.picture(
                        Self.lines(report, machine: link.machine, link.kind, size), size)
                    try await StandardOutput.bytes(Array(picture.utf8))
                    try await Task.sleep(for: Self.pause)
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    /// A title, the table as far as it fits, and what is to be said beside it.
    static func lines(_ report: OwnerReport, machine: String, _ kind: ForwardsKind, _ size: TerminalSize)
        -> [String]
    {
        let notes = report.notes(kind).map { $0.printable(limit: 1000) }
        let count = report.forwards.count == 1 ? "1 forward" : "\(report.forwards.count) forwards"
        let title = "\(machine): \(count) (pid \(report.pid)); Ctrl-C ends this view"
        var table = PortsTable(report).lines(width: size.columns)
        let room = max(1, size.rows - notes.count - 2)
        if table.count > room {
            let hidden = table.count - room + 1
            table = Array(table.prefix(room - 1)) + ["… and \(hidden) more lines; `rum ports` shows all"]
        }
        return ([title, ""] + table + notes).map { String($0.prefix(size.columns)) }
    }
}
