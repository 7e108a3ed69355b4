/// A moment of CLOCK_MONOTONIC, the clock that stamps tracepoint events.
package struct MonotonicTime: Hashable, Comparable, Sendable {
    package let nanoseconds: UInt64

    package init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    package static var now: MonotonicTime { MonotonicTime(nanoseconds: SystemClock.monotonic) }

    package static func < (left: MonotonicTime, right: MonotonicTime) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    package static func + (time: MonotonicTime, delay: Duration) -> MonotonicTime {
        MonotonicTime(nanoseconds: time.nanoseconds &+ delay.wholeNanoseconds)
    }

    /// Stops at the start of the clock.
    package static func - (time: MonotonicTime, delay: Duration) -> MonotonicTime {
        MonotonicTime(nanoseconds: time.nanoseconds - min(time.nanoseconds, delay.wholeNanoseconds))
    }

    package static func - (later: MonotonicTime, earlier: MonotonicTime) -> Duration {
        .nanoseconds(Int64(later.nanoseconds) - Int64(earlier.nanoseconds))
    }
}

extension Duration {
    /// Nanoseconds; 0 for a negative duration.
    package var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(max(0, seconds)) * 1_000_000_000 + UInt64(max(0, attoseconds) / 1_000_000_000)
    }
}
