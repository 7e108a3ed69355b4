/// How far the guest's CLOCK_MONOTONIC is from the host's, estimated from round trips.
///
/// The guest reads its clock somewhere between question and answer; the middle is the best guess, and it is
/// wrong by at most half the round trip. So the shortest round trip seen lately is the one to believe.
package struct ClockOffset: Equatable, Sendable {
    /// Host minus guest, in nanoseconds.
    package private(set) var hostMinusGuest: Int64
    /// The estimate is right within this many nanoseconds.
    package private(set) var uncertainty: UInt64
    private var takenAt: UInt64

    /// An estimate older than this gives way to any newer one: a suspended guest's clock stands still.
    private static let lifetime: UInt64 = 30_000_000_000

    /// - Parameters:
    ///   - asked: the host's clock when the question left.
    ///   - guest: the guest's clock when it answered.
    ///   - answered: the host's clock when the answer came.
    package init(asked: UInt64, guest: UInt64, answered: UInt64) {
        let half = (answered &- asked) / 2
        hostMinusGuest = Int64(bitPattern: asked &+ half &- guest)
        uncertainty = half
        takenAt = answered
    }

    /// Takes the newer estimate when it is better, or when this one is too old or contradicted by it.
    package mutating func refine(with newer: ClockOffset) {
        let distance = (newer.hostMinusGuest &- hostMinusGuest).magnitude
        if newer.uncertainty <= uncertainty || newer.takenAt &- takenAt > Self.lifetime
            || distance > newer.uncertainty + uncertainty
        {
            self = newer
        }
    }

    /// The host's clock at a moment that the guest stamped; 0 for one before the host's clock began.
    package func hostTime(ofGuest guest: UInt64) -> UInt64 {
        UInt64(max(0, Int64(clamping: guest) &+ hostMinusGuest))
    }
}
