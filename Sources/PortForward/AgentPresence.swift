internal import Ports

/// What is known of the guest's agent: whether its tables hold, which run of it this is, and how its clock goes.
///
/// Only the first table after a connection says that it is well:
///
///     unknown ──table──▶ following ──loss──▶ lost ──connection──▶ lost, but back ──table──▶ following
///                                             ▲───────loss───────────────┘
struct AgentPresence {
    private enum State {
        /// Not heard of yet.
        case unknown
        /// Its tables hold.
        case following
        /// CLOCK_MONOTONIC nanoseconds of the loss, and whether a new connection already stands.
        case lost(since: UInt64, isBack: Bool)
    }

    /// A connection to an agent that was lost.
    struct Return {
        let lostSince: UInt64
        /// The agent was started again, in this boot of the guest or another one.
        let isNewInstance: Bool
        let isNewBoot: Bool
    }

    private var state = State.unknown
    /// Why it was lost last.
    private(set) var lostReason: String?
    private var instanceID: String?
    private var bootID: String?
    private var connectedAt: UInt64 = 0
    private var hostMinusGuest: Int64?

    /// When it was lost, as long as no table has come since.
    var lostSince: UInt64? {
        if case .lost(let since, _) = state { since } else { nil }
    }

    /// Whether it is lost, and no new connection stands.
    var isAway: Bool {
        if case .lost(_, isBack: false) = state { true } else { false }
    }

    /// A connection stands; nil unless it was lost before.
    mutating func connected(instanceID: String, bootID: String, at now: UInt64) -> Return? {
        let isNewInstance = self.instanceID.map { $0 != instanceID } ?? false
        let isNewBoot = self.bootID.map { $0 != bootID } ?? false
        (self.instanceID, self.bootID, connectedAt) = (instanceID, bootID, now)
        guard case .lost(let since, isBack: false) = state else { return nil }
        state = .lost(since: since, isBack: true)
        return Return(lostSince: since, isNewInstance: isNewInstance, isNewBoot: isNewBoot)
    }

    /// A table has come.
    ///
    /// - Parameter hostMinusGuest: what turns the guest's CLOCK_MONOTONIC into the host's; nil when unknown.
    mutating func followed(hostMinusGuest: Int64?) {
        state = .following
        self.hostMinusGuest = hostMinusGuest
    }

    /// The connection is gone or can't be made; false when that is no news.
    mutating func lost(reason: String, at now: UInt64) -> Bool {
        switch state {
        case .unknown, .lost(_, isBack: false): return false
        case .lost(let since, isBack: true): state = .lost(since: since, isBack: false)
        case .following: state = .lost(since: now, isBack: false)
        }
        lostReason = reason
        return true
    }

    /// From listen(2) in the guest until now, in microseconds; nil when the former is unknown. A listener older than the
    /// connection tells nothing of how fast this side is.
    func latencyMicroseconds(of listener: ListeningSocket?, at now: UInt64) -> UInt64? {
        guard let listenedAt = listener?.listenedAt, let hostMinusGuest else { return nil }
        let listened = listenedAt &+ UInt64(bitPattern: hostMinusGuest)
        guard listened >= connectedAt else { return nil }
        return (now - min(now, listened)) / 1000
    }
}
