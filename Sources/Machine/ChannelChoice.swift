internal import Glibc
internal import Linux
internal import RumConfig

/// How the host reaches the agent in the guest, and why so.
struct ChannelChoice: Hashable, Sendable {
    enum Kind: String, Hashable, Sendable {
        case vsock
        /// Through the user network's port forwards on the host's loopback address, with the machine's token.
        case tcp
    }

    let kind: Kind
    /// One sentence for the user.
    let reason: String
    /// Whether a start that failed for want of vsock may be tried again with tcp.
    let mayFallBack: Bool

    /// vsock where /dev/vhost-vsock can be opened; `wanted` other than auto decides alone.
    static func choose(wanted: MachineConfig.Channel, facts: HostFacts) -> ChannelChoice {
        switch wanted {
        case .vsock: return ChannelChoice(kind: .vsock, reason: "vsock, as channel asks", mayFallBack: false)
        case .tcp: return ChannelChoice(kind: .tcp, reason: "tcp, as channel asks", mayFallBack: false)
        case .auto: break
        }
        switch facts.vhostVsockError {
        case nil:
            return ChannelChoice(
                kind: .vsock, reason: "vsock, since /dev/vhost-vsock can be opened", mayFallBack: true)
        case EACCES?, EPERM?:
            // The system daemon opens the device itself, with other rights than this user's.
            if facts.isSystemDaemon {
                return ChannelChoice(
                    kind: .vsock, reason: "vsock, since the host has /dev/vhost-vsock", mayFallBack: true)
            }
            return tcp(because: "this user may not open /dev/vhost-vsock (join its group, often kvm)")
        case ENOENT?:
            return tcp(because: "the host has no /dev/vhost-vsock (module vhost_vsock)")
        case let code?:
            return tcp(because: "/dev/vhost-vsock does not open (\(SystemError.text(for: code)))")
        }
    }

    /// What follows a start that failed for want of vsock.
    static func fallback(after failure: String) -> ChannelChoice {
        tcp(because: "starting with vsock failed (\(failure))")
    }

    private static func tcp(because cause: String) -> ChannelChoice {
        ChannelChoice(kind: .tcp, reason: "tcp through the user network, since \(cause)", mayFallBack: false)
    }
}
