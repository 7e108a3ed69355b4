internal import Linux

/// When the next hint may wake the watcher: some at once after a quiet time, one each millisecond in the long run.
///
/// A wake-up costs the program that listens as much as the watcher, some 10 µs, and hints that gather are read together.
struct WakeBudget {
    private static let gap = Duration.milliseconds(1)
    /// How much unused time is kept for later. Servers come in groups: none of them should wait.
    private static let burst = Duration.milliseconds(8)

    /// Not before this moment.
    private(set) var nextAllowed = MonotonicTime(nanoseconds: 0)

    func allow(_ now: MonotonicTime) -> Bool { now >= nextAllowed }

    /// Notes that hints were read, also without a wake-up, which never takes more than the next one.
    mutating func spend(_ now: MonotonicTime) {
        nextAllowed = min(max(nextAllowed, now - Self.burst), now) + Self.gap
    }
}
