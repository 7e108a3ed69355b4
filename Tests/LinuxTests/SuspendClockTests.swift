import Glibc
import Linux
import Synchronization
import Testing

@Suite("Sleep of the machine")
struct SuspendClockTests {
    @Test("A difference of the clocks that grew is a suspend, once; what two readings differ by is none")
    func suspended() throws {
        let time = Time()
        let clock = try SuspendClock { time.value.withLock { $0 } }
        #expect(!clock.wasSuspended())
        time.value.withLock { $0 += .microseconds(50) }
        #expect(!clock.wasSuspended())
        time.value.withLock { $0 += .seconds(2) }
        #expect(clock.wasSuspended())
        #expect(!clock.wasSuspended())
    }

    @Test("The kernel's two clocks differ by no more than a machine can sleep, and the timer is quiet")
    func live() throws {
        let clock = try SuspendClock()
        #expect(SuspendClock.timeSuspended > .milliseconds(-1))
        #expect(!clock.wasSuspended())
        var ready = pollfd(fd: clock.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&ready, 1, 0) == 0)
    }
}

private final class Time: Sendable {
    let value = Mutex(Duration.seconds(1))
}
