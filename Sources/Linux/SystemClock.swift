internal import CLinux
internal import Glibc

/// Reads the kernel's clocks (clock_gettime(2)), in nanoseconds.
package enum SystemClock {
    /// CLOCK_MONOTONIC, in which both ends stamp their events: since an arbitrary moment of this boot.
    package static var monotonic: UInt64 { read(CLOCK_MONOTONIC) }

    /// CLOCK_BOOTTIME: as CLOCK_MONOTONIC, but it goes on while the machine is suspended.
    static var boot: UInt64 { read(CLOCK_BOOTTIME) }

    /// CLOCK_REALTIME: since 1970.
    package static var realtime: UInt64 { read(CLOCK_REALTIME) }

    /// CLOCK_THREAD_CPUTIME_ID: the CPU time that the calling thread has used. Unlike elapsed time it says what work
    /// costs, not how busy the machine is.
    package static var threadCPU: UInt64 { read(CLOCK_THREAD_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

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
