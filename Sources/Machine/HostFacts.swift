internal import Glibc
internal import Linux

/// What was found out about the host, for the decisions on accelerator and channel.
struct HostFacts: Hashable, Sendable {
    /// Why libvirt offers no KVM domains; nil when it does.
    var kvmRefusal: String?
    /// `vmx` or `svm` when /proc/cpuinfo lists it, else nil.
    ///
    /// /dev/kvm may exist, and libvirt may offer kvm, on a host whose hypervisor does not really let guests run
    /// guests; the CPU flag is the signal that is right.
    var virtualizationFlag: String?
    /// The errno of opening /dev/vhost-vsock; nil when it opens.
    var vhostVsockError: Int32?
    /// Whether the daemon, not this user, opens the devices (`qemu:///system`).
    var isSystemDaemon: Bool

    /// The first of `vmx` and `svm` among the CPU flags of `cpuinfo`, a text in the form of /proc/cpuinfo.
    static func virtualizationFlag(inCPUInfo cpuinfo: String) -> String? {
        let line = cpuinfo.split(separator: "\n").first { $0.hasPrefix("flags") }
        return line?.split(separator: " ").first { $0 == "vmx" || $0 == "svm" }.map(String.init)
    }

    /// The flag of this host's CPU. Reads /proc/cpuinfo.
    static func probeVirtualizationFlag() -> String? {
        virtualizationFlag(inCPUInfo: (try? SmallFile.text(of: "/proc/cpuinfo")) ?? "")
    }

    /// Opens /dev/vhost-vsock, which also loads its module where it can be loaded; nil when that worked.
    static func probeVhostVsock(path: String = "/dev/vhost-vsock") -> Int32? {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return errno }
        _ = OwnedDescriptor(owning: descriptor)
        return nil
    }
}
