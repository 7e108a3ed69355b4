internal import CLinux
internal import Glibc

/// Tells when the machine has been suspended.
///
/// CLOCK_BOOTTIME goes on in suspend and CLOCK_MONOTONIC does not, so their difference is the time spent there.
package final class SuspendClock {
    /// Less than this is the distance between two readings of a clock.
    private static let tolerance = Duration.milliseconds(10)

    private let timer: OwnedDescriptor
    private let timeSuspended: () -> Duration
    private var seen: Duration

    /// - Parameter timeSuspended: how long this machine has been suspended since it booted.
    package init(
        timeSuspended: @escaping () -> Duration = { SuspendClock.timeSuspended }
    ) throws(SystemError) {
        timer = OwnedDescriptor(
            owning: try SystemError.check(
                "timerfd_create", timerfd_create(CLOCK_REALTIME, Int32(TFD_NONBLOCK | TFD_CLOEXEC))))
        self.timeSuspended = timeSuspended
        seen = timeSuspended()
        // It never expires. The kernel cancels it when the wall clock jumps, as it does on resume.
        var never = itimerspec()
        never.it_value.tv_sec = Int.max / 2
        let flags = Int32(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET)
        _ = try SystemError.check("timerfd_settime", timerfd_settime(timer.rawValue, flags, &never, nil))
    }

    /// Readable when the machine may have been suspended; valid while this object lives.
    package var descriptor: Int32 { timer.rawValue }

    /// Whether the machine was suspended since the last call. Costs three readings of a clock.
    package func wasSuspended() -> Bool {
        let now = timeSuspended()
        guard now - seen > Self.tolerance else { return false }
        seen = now
        return true
    }

    /// Takes back the readiness of `descriptor`.
    package func clear() {
        var count: UInt64 = 0
        _ = read(timer.rawValue, &count, MemoryLayout<UInt64>.size)
    }

    /// CLOCK_BOOTTIME minus CLOCK_MONOTONIC.
    package static var timeSuspended: Duration {
        difference(of: { SystemClock.boot }, from: { SystemClock.monotonic })
    }

    /// How far one clock, in nanoseconds, is ahead of another one. A thread can be held up between two readings, and then
    /// reads again.
    package static func difference(of clock: () -> UInt64, from other: () -> UInt64) -> Duration {
        while true {
            let (before, time, after) = (other(), clock(), other())
            if after - before < (tolerance / 2).wholeNanoseconds {
                return .nanoseconds(Int64(time) - Int64(before))
            }
        }
    }
}
