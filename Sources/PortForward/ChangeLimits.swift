internal import Ports

/// Bounds how often ports open and close: a guest that listens and stops as fast as it can must not keep the host busy,
/// nor its reader.
struct ChangeLimits {
    enum Answer: Equatable {
        case allowed
        /// Not now, since this port, or all of them together, have changed too often. `isNews` the first time.
        case port(isNews: Bool)
        case all(isNews: Bool)
    }

    private struct Port {
        var limit: RateLimit
        var isTold = false
    }

    private let limits: ForwardLimits
    private var ports: [WantedForward.Key: Port] = [:]
    private var all: RateLimit
    private var isAllTold = false
    private var forgetAt: UInt64 = 0

    init(_ limits: ForwardLimits) {
        self.limits = limits
        all = RateLimit(atOnce: limits.allChangesAtOnce, interval: limits.allChangesInterval)
    }

    /// Asks for one change of a port.
    mutating func take(_ key: WantedForward.Key, at now: UInt64) -> Answer {
        var port =
            ports[key]
            ?? Port(limit: RateLimit(atOnce: limits.changesAtOnce, interval: limits.changeInterval))
        guard port.limit.nextAt <= now else {
            defer { ports[key]?.isTold = true }
            return .port(isNews: !port.isTold)
        }
        guard all.take(at: now) else {
            defer { isAllTold = true }
            return .all(isNews: !isAllTold)
        }
        _ = port.limit.take(at: now)
        ports[key] = port
        return .allowed
    }

    /// Forgets what has rested, at most once a second: only what changed lately takes memory.
    mutating func forget(at now: UInt64) {
        guard now >= forgetAt else { return }
        forgetAt = now + 1_000_000_000
        ports = ports.filter { !$0.value.limit.isRested(at: now) }
        if all.isRested(at: now) { isAllTold = false }
    }
}

/// Says once that the guest listens on more ports than are forwarded, and again after it did not; a few times only, when
/// that alternates.
struct SurplusNotice {
    private var isOver = false
    private var limit = RateLimit(atOnce: 3, interval: .seconds(10))

    /// - Parameter count: how many ports are too many.
    mutating func isNews(_ count: Int, at now: UInt64) -> Bool {
        defer { isOver = count > 0 }
        return count > 0 && !isOver && limit.take(at: now)
    }
}

extension ForwardLimits {
    var portReason: String { "it changes too often; from now on once in \(changeInterval) at most" }
    var allReason: String {
        "the guest's ports change too often; from now on \(Int(.seconds(1) / allChangesInterval)) a second at most"
    }
}
