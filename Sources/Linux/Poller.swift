internal import CLinux
internal import Glibc

/// Lets one thread sleep until a descriptor is readable, a moment has come, or another thread wakes it.
package final class Poller {
    private let epoll: Epoll
    private let timer: OwnedDescriptor
    private let wake: OwnedDescriptor
    private var watched: [Int32] = []

    package init() throws(SystemError) {
        epoll = try Epoll()
        timer = OwnedDescriptor(
            owning: try SystemError.check(
                "timerfd_create",
                timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))))
        wake = OwnedDescriptor(
            owning: try SystemError.check(
                "eventfd", eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))))
        try add(timer.rawValue)
        try add(wake.rawValue)
    }

    /// What a sleep ended with.
    package struct Wake: Sendable {
        /// Nothing is known of any descriptor.
        package static let unknown = Wake()

        /// No watched descriptor reports an error or hang-up.
        package fileprivate(set) var isHealthy = true
        /// nil when nobody has looked.
        fileprivate var readable: [Int32]?

        /// False when there was nothing to read at the end of the sleep.
        package func mayBeReadable(_ descriptor: Int32) -> Bool { readable?.contains(descriptor) ?? true }
    }

    /// Wakes the sleeper from any thread, as long as this poller lives.
    package func makeWaker() throws(SystemError) -> Waker { Waker(try wake.duplicate()) }

    /// Watches these descriptors and no others. A closed descriptor has left by itself.
    package func watch(_ descriptors: [Int32]) throws(SystemError) {
        for old in watched { epoll.remove(old) }
        watched = []
        for descriptor in descriptors {
            try add(descriptor)
            watched.append(descriptor)
        }
    }

    /// Sleeps until something is readable or `deadline` has come; nil sleeps without limit.
    ///
    /// With `onlyTime` the watched descriptors do not wake it, so a flood of events can be left to gather.
    package func wait(until deadline: MonotonicTime?, onlyTime: Bool) -> Wake {
        var setting = itimerspec()
        if let deadline {
            // An absolute time of zero would disarm.
            let nanoseconds = max(1, deadline.nanoseconds)
            setting.it_value.tv_sec = Int(nanoseconds / 1_000_000_000)
            setting.it_value.tv_nsec = Int(nanoseconds % 1_000_000_000)
        }
        timerfd_settime(timer.rawValue, Int32(TFD_TIMER_ABSTIME), &setting, nil)
        var wake = Wake()
        if onlyTime {
            var both = [
                pollfd(fd: timer.rawValue, events: Int16(POLLIN), revents: 0),
                pollfd(fd: self.wake.rawValue, events: Int16(POLLIN), revents: 0),
            ]
            poll(&both, 2, -1)
            for end in both where end.revents != 0 { clear(end.fd) }
        } else {
            withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 16) { events in
                let ready = events.prefix(epoll.wait(events))
                wake.isHealthy = !ready.contains { $0.events & (EPOLLERR.rawValue | EPOLLHUP.rawValue) != 0 }
                let readable = ready.map { Int32(truncatingIfNeeded: $0.data.u64) }
                for own in readable where own == timer.rawValue || own == self.wake.rawValue { clear(own) }
                wake.readable = readable
            }
        }
        return wake
    }

    private func add(_ descriptor: Int32) throws(SystemError) {
        try epoll.add(descriptor, EPOLLIN.rawValue, token: UInt64(UInt32(bitPattern: descriptor)))
    }

    private func clear(_ descriptor: Int32) {
        var count: UInt64 = 0
        _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    }
}

/// Wakes a `Poller` from any thread.
package struct Waker: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }

    package func wake() {
        var one: UInt64 = 1
        _ = write(descriptor.rawValue, &one, MemoryLayout<UInt64>.size)
    }
}

/// A waker with several owners.
package final class SharedWaker: Sendable {
    private let waker: Waker

    package init(_ waker: consuming Waker) { self.waker = waker }

    package func wake() { waker.wake() }
}
