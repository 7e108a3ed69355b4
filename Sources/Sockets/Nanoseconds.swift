internal import Glibc

/// Reads the kernel's clocks, in nanoseconds.
package enum Nanoseconds {
    /// CLOCK_MONOTONIC, in which both ends stamp their events: since an arbitrary moment of this boot.
    package static var now: UInt64 { read(CLOCK_MONOTONIC) }

    /// CLOCK_REALTIME: since 1970.
    package static var sinceEpoch: UInt64 { read(CLOCK_REALTIME) }

    /// CPU time of the calling thread.
    package static var threadCPU: UInt64 { read(CLOCK_THREAD_CPUTIME_ID) }

    private static func read(_ clock: clockid_t) -> UInt64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

extension Duration {
    /// Nanoseconds; 0 for a negative duration.
    package var wholeNanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        return UInt64(max(0, seconds)) * 1_000_000_000 + UInt64(max(0, attoseconds) / 1_000_000_000)
    }
}
