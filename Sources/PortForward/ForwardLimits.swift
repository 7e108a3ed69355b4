/// The bounds of forwarding: what a guest, or a host on which many ports are taken, can make this side do.
package struct ForwardLimits: Sendable {
    /// How long automatic forwards stay without word from the agent.
    package var grace = Duration.seconds(5)

    /// How long a port whose rule depends on its process waits for the guest to tell of that, before the rules that do
    /// not depend on it decide; and how long one that is open stays for that.
    package var undecided = Duration.milliseconds(100)

    /// Between two tries of a port that somebody holds, while few are held.
    package var busyRetry = Duration.milliseconds(50)
    /// Between two tries of one that can't be bound for another reason.
    package var otherRetry = Duration.seconds(1)
    /// What each blocked port adds to the time between two tries once that is longer: a try takes some 15 µs, so all of
    /// them together take 2 % of a core however many there are.
    package var retryShare = Duration.milliseconds(1)
    /// How many further host ports one opening tries where it may take the next free one.
    package var nextPorts = 32
    /// Of one turn; then the actor is free for others.
    package var retriesPerTurn = 50
    package var retryTimePerTurn = Duration.milliseconds(1)
    /// Between two turns.
    package var shortestPause = Duration.milliseconds(20)

    /// Openings and closings of one port: so many at once, then one for each interval. A program that is started again
    /// and again by hand stays below.
    package var changesAtOnce: UInt64 = 10
    package var changeInterval = Duration.milliseconds(500)
    /// The same for all ports together.
    package var allChangesAtOnce: UInt64 = 8192
    package var allChangesInterval = Duration.milliseconds(4)

    package init() {}
}
