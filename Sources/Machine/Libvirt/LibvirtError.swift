internal import CLibvirt
internal import Glibc

/// An error that libvirt reported.
struct LibvirtError: Error, Hashable, Sendable {
    /// virErrorNumber.
    let code: UInt32
    /// The errno behind it; 0 when there is none.
    let systemCode: Int32
    let message: String
    /// What was tried, as in "cannot ...".
    let operation: String

    /// The calling thread's last error; call it right after the failed function, with no await between.
    static func last(_ operation: String) -> LibvirtError {
        guard let error = virGetLastError() else {
            return LibvirtError(code: 0, systemCode: 0, message: "no reason given", operation: operation)
        }
        let number = UInt32(bitPattern: error.pointee.code)
        return LibvirtError(
            code: number,
            // virReportSystemError keeps errno there.
            systemCode: number == VIR_ERR_SYSTEM_ERROR.rawValue ? error.pointee.int1 : 0,
            // QEMU's own words may span lines.
            message: error.pointee.message.map { String(cString: $0) }?
                .split(whereSeparator: \.isNewline).joined(separator: "; ") ?? "no reason given",
            operation: operation)
    }

    func isCode(_ code: virErrorNumber) -> Bool { self.code == code.rawValue }

    /// As the user sees it. `kind` is used where the code does not tell a better one.
    func machineError(_ kind: MachineError.Kind, hint: String? = nil) -> MachineError {
        let otherwise =
            isFileDenied ? Self.fileHint : "Look at libvirt's log, as with: journalctl -u libvirtd"
        return MachineError(
            isUserDenied || isFileDenied ? .permission : kind, "cannot \(operation): \(message)",
            hint: isUserDenied ? Self.groupHint : hint ?? otherwise)
    }

    /// The same for a connection that cannot be made. A session's daemon has this user's rights: what denies access is a file.
    func connectionError(_ uri: String) -> MachineError {
        if uri.contains(":///session") {
            return machineError(
                .noLibvirt,
                hint: isFileDenied
                    ? "Make what it names your own; if XDG_RUNTIME_DIR is another user's, as after su: unset XDG_RUNTIME_DIR."
                    : "Install its daemon, which a session starts by itself (apt install libvirt-daemon), and check the address."
            )
        }
        return machineError(
            .noLibvirt,
            hint: isFileDenied
                ? Self.groupHint : "Start its daemon (systemctl start libvirtd), and check the address.")
    }

    private static let groupHint =
        "Join the group libvirt (sudo usermod -aG libvirt $USER, then log in again), or use qemu:///session."
    private static let fileHint = "Check the owner and mode of what it names, and of the folders above it."

    /// Whether libvirt does not let this user do it.
    private var isUserDenied: Bool {
        switch virErrorNumber(code) {
        case VIR_ERR_AUTH_FAILED, VIR_ERR_AUTH_CANCELLED, VIR_ERR_AUTH_UNAVAILABLE, VIR_ERR_ACCESS_DENIED,
            VIR_ERR_OPERATION_DENIED:
            true
        default: false
        }
    }

    /// Whether a file was in the way, of libvirt or of its daemon.
    private var isFileDenied: Bool { systemCode == EACCES || systemCode == EPERM }

    /// Whether a start failed for want of vsock on this host. Other faults, such as too little memory, would only be
    /// hidden by a second try with another channel.
    var meansNoVsock: Bool { says(Self.vsockComplaints) }

    /// Whether a start failed for want of KVM on this host, in the words of libvirt and QEMU.
    var meansNoKVM: Bool { says(Self.kvmComplaints) }

    /// Whether QEMU has no machines of the type that was asked for.
    var meansNoMachineType: Bool { says(["is not supported by emulator"]) }

    /// Whether a definition may have failed for its type of machine: libvirt names that, or a bus that machines of the type lack.
    func mayMean(machineType: String) -> Bool {
        says(["machine type", "'\(machineType.lowercased())'", "no pci buses", "pcie-root"])
    }

    /// Whether a start failed for want of virtiofs on this host.
    var meansNoVirtiofs: Bool { says(Self.virtiofsComplaints) }

    /// Whether a start failed since the host has no UEFI for guests.
    var meansNoFirmware: Bool { says(["unable to find any firmware", "no firmware", "firmware to satisfy"]) }

    static let firmwareHint = "Install UEFI for guests, on Debian with: apt install ovmf"

    private func says(_ complaints: [String]) -> Bool {
        let message = message.lowercased()
        return complaints.contains { message.contains($0) }
    }

    private static let vsockComplaints = [
        "vhost-vsock", "vhost_vsock", "vsock device", "vsock is not supported", "guest cid",
    ]

    private static let virtiofsComplaints = ["virtiofs", "vhost-user-fs"]

    private static let kvmComplaints = [
        // libvirt: no such domain type, or an emulator that cannot do it.
        "domaintype=kvm", "domain type 'kvm'", "domain type kvm", "virttype=kvm", "virt type 'kvm'",
        "kvm is not supported", "kvm is not available", "does not support kvm",
        // QEMU: the device, the accelerator, and assertions in its kvm.c.
        "/dev/kvm", "kvm kernel module", "initialize kvm", "kvm_", "kvm not supported", "accel kvm",
        "accelerator kvm",
        "kvm: no such file", "-accel kvm", "ioctl(kvm",
        // A CPU that cannot be passed through.
        "host-passthrough", "host cpu", "requires kvm",
    ]
}
