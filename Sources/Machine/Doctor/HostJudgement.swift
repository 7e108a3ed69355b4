internal import Glibc
internal import Linux
internal import Ports
internal import RumConfig

/// What facts about the host mean for a machine. Pure.
enum HostJudgement {
    /// What became of asking libvirt.
    enum LibvirtAnswer: Hashable, Sendable {
        case version(String)
        case failed(MachineError)
        case silent(Duration)
    }

    static func libvirt(_ uri: String, _ answer: LibvirtAnswer) -> HostFinding {
        switch answer {
        case .version(let version): HostFinding("libvirt", .ok, "libvirt \(version) answers at \(uri)")
        case .failed(let error): HostFinding("libvirt", .fail, error.message, cure: error.hint)
        case .silent(let limit):
            HostFinding(
                "libvirt", .fail, "libvirt at \(uri) did not answer within \(limit)",
                cure: "Look at its daemon: systemctl status libvirtd, or of a session: \(sessionLog)")
        }
    }

    private static let sessionLog = "~/.cache/libvirt/qemu/log"

    static func emulator(_ result: Result<EmulationOffer, MachineError>) -> HostFinding {
        switch result {
        case .success(let offer):
            HostFinding("qemu", .ok, "libvirt has QEMU for x86-64 at \(offer.emulator)")
        case .failure(let error): HostFinding("qemu", .fail, error.message, cure: error.hint)
        }
    }

    /// Whether UEFI could start the machine. Without a kernel to boot directly, `auto` may turn out to need it: the image
    /// may not be here yet.
    static func firmware(hasUEFI: Bool, wanted: MachineConfig.Firmware, hasKernel: Bool) -> HostFinding {
        let check = "firmware"
        if hasUEFI { return HostFinding(check, .ok, "libvirt has UEFI for guests") }
        let cure = LibvirtError.firmwareHint
        switch wanted {
        case .efi:
            return HostFinding(
                check, .fail, "boot.firmware = \"efi\", but libvirt has no UEFI for guests", cure: cure)
        case .auto where !hasKernel:
            return HostFinding(
                check, .warn, "libvirt has no UEFI for guests; images that BIOS cannot start need it",
                cure: cure)
        case .auto, .bios:
            return HostFinding(check, .ok, "libvirt has no UEFI for guests, and this machine needs none")
        }
    }

    /// How folders of [[mounts]] would reach the guest; what keeps them from it matters only where some are wanted.
    static func mounts(_ result: Result<MountDriver, MachineError>, areWanted: Bool) -> HostFinding {
        switch result {
        case .success(let driver): HostFinding("mounts", .ok, "folders reach the guest by \(driver.reason)")
        case .failure(let error):
            HostFinding("mounts", areWanted ? .fail : .warn, error.message, cure: error.hint)
        }
    }

    // MARK: - Accelerator and channel

    /// What `rum up` would choose, and how to get the better choice.
    static func accelerator(
        wanted: MachineConfig.DomainType, facts: HostFacts, kvm: DeviceAccess, user: GroupMembership
    ) -> HostFinding {
        let check = "accelerator"
        let choice = Accelerator.choose(wanted: wanted, facts: facts)
        guard choice.kind == .kvm || wanted == .auto else { return HostFinding(check, .ok, choice.reason) }
        let cure = kvmCure(facts, kvm, user)
        guard choice.kind == .kvm else { return HostFinding(check, .warn, choice.reason, cure: cure) }
        let worst: HostFinding.Status = choice.mayFallBack ? .warn : .fail
        if let refusal = facts.kvmRefusal {
            return HostFinding(check, .fail, "libvirt offers no KVM here (\(refusal))", cure: cure)
        }
        // The system daemon opens the device itself, with other rights.
        if let code = kvm.error, !(facts.isSystemDaemon && kvm.isDenied) {
            return HostFinding(
                check, worst, "/dev/kvm cannot be used (\(SystemError.text(for: code)))", cure: cure)
        }
        return HostFinding(check, .ok, choice.reason)
    }

    private static func kvmCure(_ facts: HostFacts, _ kvm: DeviceAccess, _ user: GroupMembership) -> String {
        if facts.virtualizationFlag == nil {
            return """
                Enable VT-x or AMD-V in the firmware; in a virtual machine, nested virtualization in its host. \
                Emulation works, about ten times slower.
                """
        }
        if kvm.isDenied, !facts.isSystemDaemon { return kvm.cure(for: user) }
        if kvm.error == ENOENT {
            let module = facts.virtualizationFlag == "svm" ? "kvm_amd" : "kvm_intel"
            return "sudo modprobe \(module); if that fails, enable VT-x or AMD-V in the firmware."
        }
        return "See what libvirt says: virt-host-validate qemu"
    }

    static func channel(
        wanted: MachineConfig.Channel, facts: HostFacts, vsock: DeviceAccess, user: GroupMembership
    ) -> HostFinding {
        let check = "channel"
        let choice = ChannelChoice.choose(wanted: wanted, facts: facts)
        guard wanted != .tcp else { return HostFinding(check, .ok, choice.reason) }
        let isDenied = vsock.isDenied && !facts.isSystemDaemon
        let cure =
            isDenied
            ? vsock.cure(for: user)
            : "sudo modprobe vhost_vsock; to keep it: echo vhost_vsock | sudo tee /etc/modules-load.d/vhost_vsock.conf"
        guard choice.kind == .vsock else {
            return HostFinding(check, .warn, choice.reason, cure: "\(cure). tcp works too.")
        }
        if let code = vsock.error, isDenied || !vsock.isDenied {
            return HostFinding(
                check, .fail,
                "channel = \"vsock\", but /dev/vhost-vsock does not open (\(SystemError.text(for: code)))",
                cure: "\(cure). Or set channel = \"auto\".")
        }
        return HostFinding(check, .ok, choice.reason)
    }

    /// Whether the user's groups are those that the devices ask for.
    static func groups(_ user: GroupMembership, _ devices: [DeviceAccess], isSystemDaemon: Bool)
        -> HostFinding
    {
        if user.isRoot { return HostFinding("groups", .ok, "root needs no group") }
        let denied = isSystemDaemon ? [] : devices.filter(\.isDenied)
        let wanted = Set(denied.compactMap(\.group)).subtracting(user.active).sorted()
        let names = ["kvm", "libvirt"].filter(user.active.contains)
        guard let first = wanted.first else {
            let text =
                names.isEmpty ? "none of kvm and libvirt, and needs neither" : names.joined(separator: ", ")
            return HostFinding("groups", .ok, "\(user.user) is in \(text)")
        }
        return HostFinding(
            "groups", .warn, "\(user.user) is not in \(wanted.joined(separator: ", "))",
            cure: user.cure(first))
    }

    static func appArmor(isOn: Bool, isSystemDaemon: Bool) -> HostFinding {
        guard isOn else { return HostFinding("apparmor", .ok, "AppArmor is off") }
        guard isSystemDaemon else {
            return HostFinding(
                "apparmor", .ok, "AppArmor is on; libvirt does not confine session machines with it")
        }
        return HostFinding(
            "apparmor", .ok,
            "AppArmor is on, and lets QEMU at its own files alone; refusals: journalctl -k --grep apparmor=.DENIED"
        )
    }

    // MARK: - Room

    /// `free` is what is left on the file system of `path`; nil when the folder could not be asked.
    static func room(_ check: String, _ path: String, free: UInt64?, isWritable: Bool, variable: String)
        -> HostFinding
    {
        guard isWritable, let free else {
            return HostFinding(
                check, .fail, "\(path) cannot be written",
                cure:
                    "Check the owner and mode of the folders above it, or set \(variable) to a folder of your own."
            )
        }
        let size = ByteSize(bytes: free)
        let text = "\(size.rounded) free for \(path)"
        let cure = "Free some disk space, or set \(variable) to a folder with more."
        if free < MachineLimits.leastRoom { return HostFinding(check, .fail, "only \(text)", cure: cure) }
        if free < MachineLimits.usualRoom { return HostFinding(check, .warn, "only \(text)", cure: cure) }
        return HostFinding(check, .ok, text)
    }

    static func memory(wanted: UInt64, available: UInt64?) -> HostFinding {
        let size = ByteSize(bytes: wanted)
        guard let available else { return HostFinding("memory", .ok, "the machine gets \(size)") }
        let free = ByteSize(bytes: available).rounded
        if available < wanted {
            return HostFinding(
                "memory", .warn, "the machine gets \(size), but only \(free) are available",
                cure: "End some programs, or lower resources.memory_mb.")
        }
        return HostFinding("memory", .ok, "\(free) available, the machine gets \(size)")
    }

    /// Static forwards of ports that only some programs may open (ip(7), ip_unprivileged_port_start).
    static func ports(_ ports: [StaticPort], firstFree: UInt16, isRoot: Bool) -> HostFinding? {
        let low = ports.map(\.host).filter { $0.rawValue < firstFree }
        guard let lowest = low.min(), !isRoot else { return nil }
        let numbers = low.map(\.description).joined(separator: ", ")
        return HostFinding(
            "ports", .warn, "host port \(numbers) is below \(firstFree), so only root may open it",
            cure: lowest.cureForPrivilege)
    }
}

extension ByteSize {
    /// In whole GiB from 10 of them, in whole MiB below.
    var rounded: ByteSize {
        let unit: UInt64 = bytes >= 10 << 30 ? 1 << 30 : 1 << 20
        return ByteSize(bytes: bytes / unit * unit)
    }
}
