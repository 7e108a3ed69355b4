internal import Glibc

/// The CPU time that the calling thread has used: unlike elapsed time it says what work costs, not how busy the
/// machine is.
enum ThreadTime {
    static var used: Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}

/// A moment of CLOCK_MONOTONIC, the clock that stamps tracepoint events.
struct MonotonicTime: Hashable, Comparable {
    let nanoseconds: UInt64

    static var now: MonotonicTime {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return MonotonicTime(nanoseconds: UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec))
    }

    static func < (left: MonotonicTime, right: MonotonicTime) -> Bool { left.nanoseconds < right.nanoseconds }

    static func + (time: MonotonicTime, delay: Duration) -> MonotonicTime {
        let (seconds, attoseconds) = delay.components
        let added = seconds * 1_000_000_000 + attoseconds / 1_000_000_000
        return MonotonicTime(nanoseconds: time.nanoseconds &+ UInt64(max(0, added)))
    }

    static func - (time: MonotonicTime, delay: Duration) -> MonotonicTime {
        let (seconds, attoseconds) = delay.components
        let taken = UInt64(max(0, seconds * 1_000_000_000 + attoseconds / 1_000_000_000))
        return MonotonicTime(nanoseconds: time.nanoseconds - min(time.nanoseconds, taken))
    }

    static func - (later: MonotonicTime, earlier: MonotonicTime) -> Duration {
        .nanoseconds(Int64(later.nanoseconds) - Int64(earlier.nanoseconds))
    }
}
