internal import Linux

/// What is due, and when.
extension ForwardReconciler {
    /// Does what is due and finds out who holds ports, until its task is cancelled.
    package func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask {
                for await _ in self.blockChanges.stream { await self.announceBlocked() }
            }
            var changes = timeChanges.stream.makeAsyncIterator()
            while !Task.isCancelled {
                if let next = tick() {
                    let pause = next - min(next, clock.monotonic())
                    let bounds =
                        limits.shortestPause.wholeNanoseconds...limits.busyRetry.wholeNanoseconds
                    try? await Task.sleep(
                        for: .nanoseconds(min(max(pause, bounds.lowerBound), bounds.upperBound)))
                } else {
                    // Ends with nil when the task is cancelled.
                    guard await changes.next(isolation: self) != nil else { return }
                }
            }
            group.cancelAll()
        }
    }

    /// Does what is due; returns when to come again, nil for not before something changes.
    @discardableResult
    package func tick() -> UInt64? {
        let now = clock.monotonic()
        var next: UInt64?
        if let since = agent.lostSince {
            let end = since &+ limits.grace.wholeNanoseconds
            if now >= end {
                closeAutomatic()
            } else {
                next = end
            }
        }
        for key in inOrder(away.filter { $0.value <= now }.keys) { settle(key, now) }
        if let end = away.values.min(), end > now { next = min(next ?? .max, end) }
        settleWaiting(now)
        if !unsettled.isEmpty { next = min(next ?? .max, now + limits.busyRetry.wholeNanoseconds) }
        if isNoteDue { note() }
        return [next, retryBlocked(now)].compactMap { $0 }.min()
    }
}
