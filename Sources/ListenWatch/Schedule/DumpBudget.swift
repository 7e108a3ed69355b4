internal import Linux

/// When the next dump may be made: a few at once after a quiet time, one each millisecond in the long run.
///
/// A close would otherwise wait for the gap behind the second look that the close before it had asked for.
struct DumpBudget {
    /// The least time for each dump, whatever happens.
    private static let gap = Duration.milliseconds(1)
    /// How much unused time is kept for later.
    private static let burst = Duration.milliseconds(3)
    /// A table of many thousands takes its own time to read: at most a tenth of the CPU goes into that.
    private static let pause = 9

    /// Not before this moment.
    private(set) var nextAllowed = MonotonicTime(nanoseconds: 0)

    func allow(_ now: MonotonicTime) -> Bool { now >= nextAllowed }

    /// Notes a dump that took `cost` of the thread's CPU time.
    mutating func spend(_ cost: Duration, now: MonotonicTime) {
        nextAllowed = max(nextAllowed, now - Self.burst) + max(Self.gap, cost * Self.pause)
    }
}
