import ArgumentParser
import CommandMain
import Control
import HostForward
import Linux
import PortForward

/// How forwards are told of.
struct EventOutput: ParsableArguments {
    @Flag(help: "Print one JSON object a line.")
    var json = false

    @Flag(name: .shortAndLong, help: "Say more on standard error.")
    var verbose = false

    /// Prints what has happened: data for programs and for people alike, so on standard output. Never waits.
    ///
    /// A full disk does not end the forwards.
    func print(_ event: ForwardEvent) {
        print(ControlEvent(line: event.line, object: EventDocument(event)))
    }

    /// As `print`, of an event that another process tells.
    func print(_ event: ControlEvent) {
        try? StandardOutput.post(json ? event.object.jsonLine : event.line.printable(limit: 2000))
        if verbose, !json, let latency = event.object.latencyMicroseconds, let port = event.object.hostPort {
            StandardError.line("rum: port \(port) open \(latency) µs after listen()")
        }
    }

    /// Runs `body`, and meanwhile tells programs the whole state again whenever they have missed lines of `session`.
    /// People see from one line that some are missing.
    func retelling(
        _ session: ForwardSession, while body: @escaping @Sendable () async throws -> Void
    ) async throws {
        guard json else { return try await body() }
        let gaps = StandardOutput.gaps { DroppedDocument(count: $0).jsonLine }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await _ in gaps { await session.retell(after: { StandardOutput.endGap() }, to: print) }
            }
            group.addTask { try await body() }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
