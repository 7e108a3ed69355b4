internal import Linux

/// How many snapshots have failed in a row, and what that means for the table and the next try.
struct SnapshotHealth {
    /// Why the newest snapshot failed; the table is then the last good one. nil when it did not fail.
    private(set) var reason: String?
    private var failures = 0

    /// Failures in a row after which another source may be tried.
    private static let patience = 3

    var isPatienceOver: Bool { failures >= Self.patience }

    /// How long to wait before the next try.
    var retryDelay: Duration { min(.milliseconds(100) * (1 << min(failures, 6)), .seconds(5)) }

    /// Notes a failure; true when its reason is news.
    mutating func failed(_ error: SnapshotFailed) -> Bool {
        defer { reason = error.description }
        failures += 1
        return reason != error.description
    }

    /// Notes a snapshot that worked; true when the one before it had failed.
    mutating func worked() -> Bool {
        defer { (reason, failures) = (nil, 0) }
        return reason != nil
    }
}
