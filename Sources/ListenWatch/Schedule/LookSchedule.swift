internal import Linux

/// When to ask the kernel what: hints, the budget of dumps, and the look that is due although nobody hinted.
///
/// The loop marks each hint in `dirty` and takes looks from `next` until there is none. It asks the kernel about each
/// look, says in `dirty` what came of it, and here what it cost (`paid`). Then it sleeps as `rest` says.
struct LookSchedule {
    /// Single questions are cheaper than a dump, unless there are many: so many looks of that kind are allowed between
    /// two dumps, and again after this time without a dump.
    private static let lookupsPerDump = 4
    private static let lookupsRefill = Duration.milliseconds(1)

    var dirty = DirtyPorts()
    /// When everything is looked at whether or not a hint came.
    var nextFull = MonotonicTime.now
    private var dumps = DumpBudget()
    private var lookupsLeft = LookSchedule.lookupsPerDump
    private var refillAt = MonotonicTime(nanoseconds: 0)

    /// The best look for what is due now.
    func next(_ now: MonotonicTime) -> DirtyPorts.Look? {
        dirty.look(now: now, mayDump: dumps.allow(now), lookups: lookups(now))
    }

    /// Until when there is nothing to look at, and whether hints may wake the sleeper before.
    ///
    /// They may not while a look that is due waits for the next dump: what comes meanwhile is looked at with it.
    func rest(_ now: MonotonicTime) -> (until: MonotonicTime, heedsHints: Bool) {
        if let due = dirty.nextDue, due <= now { return (dumps.nextAllowed, false) }
        return (min(dirty.nextDue ?? nextFull, nextFull), true)
    }

    /// Notes the thread's CPU time that a look took.
    mutating func paid(_ cost: Duration, for look: DirtyPorts.Look, now: MonotonicTime) {
        if case .owners = look {
            lookupsLeft = lookups(now) - 1
        } else {
            dumps.spend(cost, now: now)
            lookupsLeft = Self.lookupsPerDump
        }
        if now >= refillAt { refillAt = now + Self.lookupsRefill }
    }

    private func lookups(_ now: MonotonicTime) -> Int { now >= refillAt ? Self.lookupsPerDump : lookupsLeft }

    /// Forgets all hints: everything is in doubt until a look at everything succeeds, which is due at `time`.
    mutating func startOver(at time: MonotonicTime) {
        dirty = DirtyPorts()
        nextFull = time
    }
}
