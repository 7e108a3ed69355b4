/// How long to wait between two looks at everything when nothing says that one is needed.
struct PollSchedule: Equatable {
    /// Right after a change.
    var shortest: Duration
    /// After a long quiet.
    var longest: Duration
    private var next: Duration

    init(shortest: Duration, longest: Duration) {
        (self.shortest, self.longest, next) = (shortest, longest, shortest)
    }

    /// With a source of hints: only to correct what it may have missed.
    static func resync(_ interval: Duration) -> PollSchedule {
        PollSchedule(shortest: interval, longest: interval)
    }

    /// sock_diag without hints: servers come in groups, so a change is followed closely and a quiet machine is not.
    static let netlink = PollSchedule(shortest: .milliseconds(50), longest: .milliseconds(400))

    /// procfs, read up to the first connection, costs some three times as much as a dump.
    static let procfs = PollSchedule(shortest: .milliseconds(50), longest: .milliseconds(250))

    /// The wait after a look that took `cost`; never less than 20 times that, whatever the machine's size.
    mutating func interval(changed: Bool, cost: Duration) -> Duration {
        let interval = changed ? shortest : next
        next = min(interval * 2, longest)
        return max(interval, cost * 20)
    }
}
