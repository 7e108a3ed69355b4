internal import Linux
internal import Ports
internal import Synchronization

/// The host ports that this process has closed within the last minute. Connections of theirs may still be there, or in
/// TIME_WAIT (60 s, TCP_TIMEWAIT_LEN), which is then no reason to look for anybody else.
final class RecentPorts: Sendable {
    private static let memory = Duration.seconds(60).wholeNanoseconds
    private static let mostPorts = 4096

    private let closedAt = Mutex<[PortNumber: UInt64]>([:])

    func note(_ port: PortNumber) {
        let now = SystemClock.monotonic
        closedAt.withLock { ports in
            if ports.count >= Self.mostPorts { ports = ports.filter { now < $0.value + Self.memory } }
            // More than can be remembered: the others are looked for.
            if ports.count < Self.mostPorts || ports[port] != nil { ports[port] = now }
        }
    }

    func contains(_ port: PortNumber) -> Bool {
        let now = SystemClock.monotonic
        return closedAt.withLock { $0[port].map { now < $0 + Self.memory } ?? false }
    }
}
