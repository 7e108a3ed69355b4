/// What went through one forward so far.
package struct ForwardCounters: Hashable, Sendable {
    /// Connections accepted since the port was opened, or since somebody came by name to one that is blocked.
    package var accepted: UInt64
    /// Connections open now.
    package var active: UInt64
    /// Connections that never reached the guest's program.
    package var failed: UInt64
    package var bytesToGuest: UInt64
    package var bytesFromGuest: UInt64

    package init(
        accepted: UInt64 = 0, active: UInt64 = 0, failed: UInt64 = 0, bytesToGuest: UInt64 = 0,
        bytesFromGuest: UInt64 = 0
    ) {
        self.accepted = accepted
        self.active = active
        self.failed = failed
        self.bytesToGuest = bytesToGuest
        self.bytesFromGuest = bytesFromGuest
    }
}
