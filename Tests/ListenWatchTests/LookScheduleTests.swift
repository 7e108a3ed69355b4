import Linux
import Ports
import Testing

@testable import ListenWatch

@Suite("When the kernel is asked what")
struct LookScheduleTests {
    @Test("Hints that come singly are answered by single questions, however many come in the long run")
    func singly() throws {
        var schedule = LookSchedule()
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        for _ in 0..<100 {
            schedule.dirty.mark(hint(80, now), now: now)
            let look = try #require(schedule.next(now))
            guard case .owners = look else {
                Issue.record("a dump for a single hint")
                return
            }
            schedule.dirty.answered(look, now: now) { _ in true }
            schedule.paid(.microseconds(5), for: look, now: now)
            now = now + .milliseconds(5)
        }
    }

    @Test("Of hints without a pause only a few are answered singly, the others by dumps")
    func storm() {
        var schedule = LookSchedule()
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        var single = 0
        for _ in 0..<1000 {
            schedule.dirty.mark(hint(80, now), now: now)
            if let look = schedule.next(now) {
                if case .owners = look { single += 1 }
                schedule.dirty.answered(look, now: now) { _ in true }
                schedule.paid(.microseconds(5), for: look, now: now)
            }
            now = now + .microseconds(10)
        }
        // 10 ms: four looks for each, and those that a dump gives back.
        #expect(single <= 120)
    }

    @Test(
        "Twenty tables are published without a wait after a quiet time; then they take 2 % of a core at most")
    func publications() {
        var budget = PublishBudget()
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        for _ in 0..<20 {
            #expect(budget.allow(now))
            budget.spend(.microseconds(100), now: now)
            now = now + .microseconds(100)
        }
        var count = 0
        for _ in 0..<10_000 {
            if budget.allow(now) {
                budget.spend(.microseconds(100), now: now)
                count += 1
            }
            now = now + .microseconds(100)
        }
        // 100 us of its own and 100 us of its readers, fifty times, fit a hundred times into this second.
        #expect((90...120).contains(count))
    }

    @Test("One publication that took very long holds the next ones up for 250 ms each")
    func slowPublication() {
        var budget = PublishBudget()
        let now = MonotonicTime(nanoseconds: 1_000_000_000)
        budget.spend(.seconds(1), now: now)
        budget.spend(.seconds(1), now: now)
        #expect(!budget.allow(now + .milliseconds(249)))
        #expect(budget.allow(now + .milliseconds(250)))
    }

    private func hint(_ port: UInt16, _ now: MonotonicTime) -> ListenHint {
        ListenHint(kind: .opened, address: .anyV4, port: PortNumber(port), pid: 1, time: now)
    }
}
