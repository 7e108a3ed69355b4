import CLinux
import Glibc
import Linux
import Synchronization
import Testing

@Suite("Sleep of the machine and of a thread")
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

    @Test("Clocks are as far apart as they are, though the thread is held up between the readings")
    func heldUp() {
        var (now, readings) = (UInt64(1_000_000_000), 0)
        func read() -> UInt64 {
            readings += 1
            // Twice, before the second clock is read.
            now += readings == 2 || readings == 5 ? 20_000_000 : 100
            return now
        }
        let distance = SuspendClock.difference(of: { read() + 5_000_000_000 }, from: read)
        #expect(distance == .seconds(5) + .nanoseconds(100))
    }

    @Test("The kernel's two clocks differ by no more than a machine can sleep, and the timer is quiet")
    func live() throws {
        let clock = try SuspendClock()
        #expect(SuspendClock.timeSuspended > .milliseconds(-1))
        #expect(!clock.wasSuspended())
        var ready = pollfd(fd: clock.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&ready, 1, 0) == 0)
    }

    @Test("An epoll instance reports what was added, as it was changed last, until it is removed")
    func epoll() throws {
        let epoll = try Epoll()
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let reader = OwnedDescriptor(owning: ends[0])
        let writer = OwnedDescriptor(owning: ends[1])
        func tokens() -> [UInt64] {
            withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 4) { events in
                events.prefix(epoll.wait(events, milliseconds: 0)).map(\.data.u64)
            }
        }
        let readable: UInt32 = 1
        try epoll.add(reader.rawValue, readable, token: 7)
        #expect(tokens() == [])
        var byte: UInt8 = 1
        #expect(write(writer.rawValue, &byte, 1) == 1)
        #expect(tokens() == [7])
        try epoll.modify(reader.rawValue, readable, token: 8)
        #expect(tokens() == [8])
        #expect(throws: SystemError(code: EEXIST, operation: "epoll_ctl")) {
            try epoll.add(reader.rawValue, readable, token: 9)
        }
        epoll.remove(reader.rawValue)
        epoll.remove(reader.rawValue)
        #expect(tokens() == [])
    }
}

private final class Time: Sendable {
    let value = Mutex(Duration.seconds(1))
}
