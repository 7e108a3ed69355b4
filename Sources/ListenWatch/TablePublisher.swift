internal import Linux
internal import Ports

/// Puts changed tables on the board, but not faster than their readers can take them.
struct TablePublisher {
    private let board: TableBoard
    private var budget = PublishBudget()
    private var isOwed = false

    init(_ board: TableBoard) { self.board = board }

    /// When a publication that had to wait may be made; nil when none waits.
    var due: MonotonicTime? { isOwed ? budget.nextAllowed : nil }

    /// Publishes now, or notes that it is owed: `due` then says when to call again. A table that says what the board
    /// says already is not published.
    mutating func publish(_ source: ListenSource, _ listeners: () -> [ListeningSocket]) {
        let now = MonotonicTime.now
        isOwed = !budget.allow(now)
        if isOwed { return }
        let start = SystemClock.threadCPU
        let next = ListenTable(
            revision: board.table.revision + 1, source: source, listeners: listeners())
        if !next.sameContent(as: board.table) || next.revision == 1 { board.publish(next) }
        budget.spend(.nanoseconds(SystemClock.threadCPU - start), now: now)
    }
}
