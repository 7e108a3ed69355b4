internal import CLinux
internal import Glibc

/// Wakes a thread that waits for descriptors, from any other thread (eventfd(2)).
package final class Waker: Sendable {
    private let event: OwnedDescriptor

    package init() throws(SystemError) {
        event = OwnedDescriptor(
            owning: try SystemError.check("eventfd", eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))))
    }

    /// Readable from `wake` until `clear`; valid while this object lives.
    package var descriptor: Int32 { event.rawValue }

    /// Makes `descriptor` readable; never waits, and several calls before a `clear` are one.
    package func wake() { eventfd_write(event.rawValue, 1) }

    /// Takes back the readiness of `descriptor`.
    package func clear() {
        var count: eventfd_t = 0
        eventfd_read(event.rawValue, &count)
    }
}
