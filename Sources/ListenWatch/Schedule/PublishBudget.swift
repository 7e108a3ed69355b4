internal import Linux

/// When the next table may be published: some at once after a quiet time, and at most 2 % of a core in the long run.
struct PublishBudget {
    /// How many times its own cost a publication keeps later ones waiting.
    private static let pause = 50
    /// What a table costs besides, on other threads: gRPC sends it to its readers, and each reader acts on it.
    private static let readers = Duration.microseconds(100)
    /// Never longer than this, so that one that was slow by accident does not hold up what follows.
    private static let longestPause = Duration.milliseconds(250)
    /// How much unused time is kept for later. Servers come in groups: none of them should wait for the one before.
    private static let burst = Duration.milliseconds(250)

    /// Not before this moment.
    private(set) var nextAllowed = MonotonicTime(nanoseconds: 0)

    func allow(_ now: MonotonicTime) -> Bool { now >= nextAllowed }

    /// Notes a publication that took `cost` of the thread's CPU time.
    mutating func spend(_ cost: Duration, now: MonotonicTime) {
        let wait = min((cost + Self.readers) * Self.pause, Self.longestPause)
        nextAllowed = max(nextAllowed, now - Self.burst) + wait
    }
}
