internal import Linux
internal import Ports

/// Puts changed tables on the board, but not faster than their readers can take them.
struct TablePublisher {
    /// How many times its own cost a publication keeps the next one waiting: 2 % of a core at most. A big table costs
    /// its readers more than it cost us.
    private static let pause = 50
    /// Never longer than this, so that one that was slow by accident does not hold up what follows.
    private static let longestPause = Duration.milliseconds(250)

    private let board: TableBoard
    private var mayPublishAt = MonotonicTime.now
    private var isOwed = false

    init(_ board: TableBoard) { self.board = board }

    /// When a publication that had to wait may be made; nil when none waits.
    var due: MonotonicTime? { isOwed ? mayPublishAt : nil }

    /// Publishes now, or notes that it is owed: `due` then says when to call again. A table that says what the board
    /// says already is not published.
    mutating func publish(_ source: ListenSource, _ listeners: () -> [ListeningSocket]) {
        let now = MonotonicTime.now
        isOwed = now < mayPublishAt
        if isOwed { return }
        let start = SystemClock.threadCPU
        let next = ListenTable(
            revision: board.table.revision + 1, source: source, listeners: listeners())
        if !next.sameContent(as: board.table) || next.revision == 1 { board.publish(next) }
        let cost = Duration.nanoseconds(SystemClock.threadCPU - start)
        mayPublishAt = now + min(cost * Self.pause, Self.longestPause)
    }
}
