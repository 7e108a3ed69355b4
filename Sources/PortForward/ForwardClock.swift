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
}
