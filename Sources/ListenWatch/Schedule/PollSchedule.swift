/// How long to wait between two looks at everything when nothing says that one is needed.
struct PollSchedule: Equatable {
    /// Right after a change.
    var shortest: Duration
    /// After a long quiet.
    var longest: Duration
    private var next: Duration
    /// A look that takes long is made seldom: never sooner than this many times its cost.
    private let costFactor: Int

    init(shortest: Duration, longest: Duration, costFactor: Int = 20) {
        (self.shortest, self.longest, next) = (shortest, longest, shortest)
        self.costFactor = costFactor
    }

    /// With a source of hints: only to correct what it may have missed.
    static func resync(_ interval: Duration) -> PollSchedule {
        PollSchedule(shortest: interval, longest: interval)
    }

    /// sock_diag without hints: servers come in groups, so a change is followed closely and a quiet machine is not.
    static let netlink = PollSchedule(shortest: .milliseconds(50), longest: .milliseconds(400))

    /// procfs, read up to the first connection, costs little. But where a family has no connection the kernel walks its
    /// whole table to print none, which takes milliseconds: at most 0.7 % of a core goes into that.
    static let procfs = PollSchedule(
        shortest: .milliseconds(50), longest: .milliseconds(250), costFactor: 150)

    /// The wait after a look that took `cost`.
    mutating func interval(changed: Bool, cost: Duration) -> Duration {
        let interval = changed ? shortest : next
        next = min(interval * 2, longest)
        return max(interval, cost * costFactor)
    }
}
