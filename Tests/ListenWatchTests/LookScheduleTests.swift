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

    private func hint(_ port: UInt16, _ now: MonotonicTime) -> ListenHint {
        ListenHint(kind: .opened, address: .anyV4, port: PortNumber(port), pid: 1, time: now)
    }
}
