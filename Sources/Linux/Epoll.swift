package import CLinux
internal import Glibc

/// An epoll instance (epoll(7)): tells which of many descriptors are ready. Any thread may add and remove.
package struct Epoll: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    package init() throws(SystemError) {
        descriptor = OwnedDescriptor(
            owning: try SystemError.check("epoll_create1", epoll_create1(Int32(EPOLL_CLOEXEC))))
    }

    /// Reports `events` of a descriptor, each with `token`. What is ready already is reported too, edge-triggered or
    /// not. Closing the last descriptor of an open file removes it.
    package func add(_ fd: Int32, _ events: UInt32, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_ADD, fd, events, token)
    }

    /// Changes what is reported of a descriptor that was added.
    package func modify(_ fd: Int32, _ events: UInt32, token: UInt64) throws(SystemError) {
        try control(EPOLL_CTL_MOD, fd, events, token)
    }

    /// Does nothing when the descriptor is not watched.
    package func remove(_ fd: Int32) {
        var event = epoll_event()
        _ = epoll_ctl(descriptor.rawValue, EPOLL_CTL_DEL, fd, &event)
    }

    /// Waits up to `milliseconds`, -1 without limit: the number of events written, 0 when interrupted.
    package func wait(
        _ events: UnsafeMutableBufferPointer<epoll_event>, milliseconds: Int32 = -1
    ) -> Int {
        max(0, Int(epoll_wait(descriptor.rawValue, events.baseAddress, Int32(events.count), milliseconds)))
    }

    private func control(
        _ operation: Int32, _ fd: Int32, _ events: UInt32, _ token: UInt64
    ) throws(SystemError) {
        var event = epoll_event()
        event.events = events
        event.data.u64 = token
        _ = try SystemError.check("epoll_ctl", epoll_ctl(descriptor.rawValue, operation, fd, &event))
    }
}
