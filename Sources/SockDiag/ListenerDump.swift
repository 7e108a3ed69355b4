package import Ports

/// The answer to "who listens".
package struct ListenerDump: Hashable, Sendable {
    package var listeners: [ObservedListener]
    /// The answer came in several datagrams. Between two the kernel remembers its place in a hash chain as a count, so
    /// a socket that leaves the chain meanwhile makes it skip another one that stays (inet_diag, up to Linux 5.18).
    package var mayMissSome: Bool

    package init(listeners: [ObservedListener], mayMissSome: Bool) {
        self.listeners = listeners
        self.mayMissSome = mayMissSome
    }
}
