internal import Glibc

/// The clocks that forwards are timed by.
package struct ForwardClock: Sendable {
    /// CLOCK_MONOTONIC, in nanoseconds.
    package var monotonic: @Sendable () -> UInt64
    /// Microseconds since 1970.
    package var wallMicroseconds: @Sendable () -> UInt64

    package init(
        monotonic: @escaping @Sendable () -> UInt64, wallMicroseconds: @escaping @Sendable () -> UInt64
    ) {
        self.monotonic = monotonic
        self.wallMicroseconds = wallMicroseconds
    }

    /// The system's.
    package static let system = ForwardClock(
        monotonic: {
            let time = read(CLOCK_MONOTONIC)
            return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        },
        wallMicroseconds: {
            let time = read(CLOCK_REALTIME)
            return UInt64(time.tv_sec) * 1_000_000 + UInt64(time.tv_nsec) / 1000
        })

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        clock_gettime(clock, &time)
        return time
    }
}
