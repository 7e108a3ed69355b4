internal import Glibc

/// CLOCK_MONOTONIC, the clock in which both ends stamp their events.
package enum MonotonicClock {
    /// Nanoseconds since an arbitrary moment of this boot.
    package static var now: UInt64 {
        var time = timespec()
        guard clock_gettime(CLOCK_MONOTONIC, &time) == 0 else { return 0 }
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
