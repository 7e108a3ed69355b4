internal import Linux
internal import PortForward
internal import Ports
internal import Synchronization

/// Bounds how fast an agent's tables are taken. What is not taken waits in the agent, whose own tables are then newest by
/// the time it can send them; one that floods makes only its own tables late.
///
/// A table is paid for by its rows, at some 2 µs each, so that all of them take at most a tenth of a core for long. An
/// agent of ours stays far below: it waits fifty times what a table has cost it before it sends the next one.
final class TableIntake: Sendable {
    /// What a table costs besides its rows, in rows.
    private static let rowsOfTable: UInt64 = 16
    /// Bytes of process names and command lines that cost as much as a row.
    private static let nameBytesOfRow = 8
    private static let rowsAtOnce: UInt64 = 20_000
    private static let rowInterval = Duration.microseconds(20)

    private let limit = Mutex(RateLimit(atOnce: rowsAtOnce, interval: rowInterval))

    /// Pays for a table, as it has come.
    func pay(for table: ListenTable) {
        let now = SystemClock.monotonic
        let names = table.listeners.reduce(0) { $0 + ($1.process?.name.utf8.count ?? 0) }
        // Each process is described once in a message.
        let details = Dictionary(table.listeners.compactMap(\.process).map { ($0.pid, $0.details) }) { $1 }
            .values.reduce(0) { $0 + ($1?.size ?? 0) }
        let rows = table.listeners.count + (names + details) / Self.nameBytesOfRow
        limit.withLock { $0.spend(Self.rowsOfTable + UInt64(rows), at: now) }
    }

    /// Returns when the next table may be taken; false when the task was cancelled before.
    func wait() async -> Bool {
        let (now, next) = (SystemClock.monotonic, limit.withLock { $0.nextAt })
        guard next > now else { return true }
        return (try? await Task.sleep(for: .nanoseconds(next - now))) != nil
    }
}

extension ProcessDetails {
    fileprivate var size: Int { command.utf8.count + (container?.utf8.count ?? 0) }
}
