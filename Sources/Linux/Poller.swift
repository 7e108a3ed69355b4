internal import CLinux
internal import Glibc

/// Lets one thread sleep until a descriptor is readable, a moment has come, or another thread wakes it.
package final class Poller {
    private let epoll: Epoll
    private let timer: OwnedDescriptor
    /// Wakes the sleeper from any thread.
    package let waker: Waker
    private var watched: [Int32] = []

    package init() throws(SystemError) {
        epoll = try Epoll()
        timer = OwnedDescriptor(
            owning: try SystemError.check(
                "timerfd_create",
                timerfd_create(CLOCK_MONOTONIC, Int32(TFD_NONBLOCK | TFD_CLOEXEC))))
        waker = try Waker()
        try add(timer.rawValue)
        try add(waker.descriptor)
    }

    /// What a sleep ended with.
    package struct Wake: Sendable {
        /// Nothing is known of any descriptor.
        package static let unknown = Wake()

        fileprivate var failed: [Int32] = []
        /// nil when nobody has looked.
        fileprivate var readable: [Int32]?

        /// Whether a watched descriptor reported an error or hang-up.
        package func hasFailed(_ descriptor: Int32) -> Bool { failed.contains(descriptor) }

        /// False when there was nothing to read at the end of the sleep.
        package func mayBeReadable(_ descriptor: Int32) -> Bool { readable?.contains(descriptor) ?? true }
    }

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
                pollfd(fd: waker.descriptor, events: Int16(POLLIN), revents: 0),
            ]
            poll(&both, 2, -1)
            for end in both where end.revents != 0 { clear(end.fd) }
        } else {
            withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: 16) { events in
                let ready = events.prefix(epoll.wait(events))
                let (error, hangUp) = (EPOLLERR.rawValue, EPOLLHUP.rawValue)
                wake.failed = ready.filter { $0.events & (error | hangUp) != 0 }.map(Self.descriptor)
                let readable = ready.map(Self.descriptor)
                for own in readable where own == timer.rawValue || own == waker.descriptor { clear(own) }
                wake.readable = readable
            }
        }
        return wake
    }

    private func add(_ descriptor: Int32) throws(SystemError) {
        try epoll.add(descriptor, EPOLLIN.rawValue, token: UInt64(UInt32(bitPattern: descriptor)))
    }

    private static func descriptor(_ event: epoll_event) -> Int32 {
        Int32(truncatingIfNeeded: event.data.u64)
    }

    private func clear(_ descriptor: Int32) {
        var count: UInt64 = 0
        _ = read(descriptor, &count, MemoryLayout<UInt64>.size)
    }
}
