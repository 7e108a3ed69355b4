/// Allows so many steps at once, and from then on one for each interval (the generic cell rate algorithm).
package struct RateLimit: Hashable, Sendable {
    private let atOnce: UInt64
    private let interval: UInt64
    /// When all steps that were taken are paid for; nanoseconds of the caller's clock.
    private var paidAt: UInt64 = 0

    package init(atOnce: UInt64, interval: Duration) {
        self.atOnce = atOnce
        self.interval = UInt64(max(0, interval / .nanoseconds(1)))
    }

    /// When the next step is allowed; in the past or now when it already is.
    package var nextAt: UInt64 { (paidAt + interval) - min(paidAt + interval, atOnce * interval) }

    /// Whether as many steps are allowed at once as ever.
    package func isRested(at now: UInt64) -> Bool { paidAt <= now }

    /// Takes a step if one is allowed.
    package mutating func take(at now: UInt64) -> Bool {
        guard nextAt <= now else { return false }
        spend(1, at: now)
        return true
    }

    /// Takes steps, allowed or not.
    package mutating func spend(_ steps: UInt64, at now: UInt64) {
        paidAt = max(paidAt, now) + steps * interval
    }
}
