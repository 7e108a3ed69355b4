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
