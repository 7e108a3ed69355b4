/// What libvirt is told about a machine; `document` is a pure function of it.
///
/// Format: https://libvirt.org/formatdomain.html.
struct DomainXML: Hashable, Sendable {
    var name: String
    /// Kept for the life of the machine, so that libvirt updates its definition instead of refusing the name.
    var uuid: String
    var accelerator: Accelerator.Kind
    /// The QEMU machine type, such as `q35`.
    var machine: String
    var cpus: Int
    var memoryMB: Int
    var kernel: Kernel?
    /// The path of the root disk, a qcow2 file; nil when the initrd is the whole system.
    var disk: String?
    /// The image that `disk` is a layer on.
    var base: Base?
    /// The path of the NoCloud image.
    var seed: String
    /// Where the serial console is recorded.
    var consoleLog: String
    /// Whether the guest gets a vsock device, with a CID that libvirt chooses at every start.
    var hasVsock: Bool
    /// Whether UEFI starts the disk; libvirt finds the firmware.
    var isEFI = false
    /// The folders of the host that the guest sees.
    var mounts: [Mount] = []

    /// A folder of the host.
    struct Mount: Hashable, Sendable {
        /// Whether virtiofsd serves it, and not QEMU.
        var isVirtiofs: Bool
        var path: String
        /// What the guest knows it by.
        var tag: String
        /// Refused by the host, whatever the guest does.
        var isReadOnly: Bool
    }

    /// A base image, which is only read.
    struct Base: Hashable, Sendable {
        var path: String
        /// `qcow2` or `raw`.
        var format: String
    }

    /// A kernel that is booted without boot loader.
    struct Kernel: Hashable, Sendable {
        var path: String
        var initrd: String?
        var commandLine: String
    }

    /// The whole document, ending in a new line.
    var document: String { domain.document() }

    private var domain: XMLElement {
        XMLElement(
            "domain", ["type": accelerator.rawValue],
            children: [
                XMLElement("name", text: name),
                XMLElement("uuid", text: uuid),
                XMLElement("memory", ["unit": "MiB"], text: "\(memoryMB)"),
            ] + sharedMemory + [
                XMLElement("vcpu", text: "\(cpus)"),
                os,
                XMLElement("features", children: [XMLElement("acpi"), XMLElement("apic")]),
                // TCG has no host CPU to pass through; `maximum` is everything it can emulate.
                XMLElement("cpu", ["mode": accelerator == .kvm ? "host-passthrough" : "maximum"]),
                XMLElement("clock", ["offset": "utc"]),
                XMLElement("on_poweroff", text: "destroy"),
                XMLElement("on_reboot", text: "restart"),
                XMLElement("on_crash", text: "destroy"),
                XMLElement("devices", children: devices),
            ])
    }

    /// virtiofsd reads and writes the guest's memory.
    private var sharedMemory: [XMLElement] {
        guard mounts.contains(where: \.isVirtiofs) else { return [] }
        return [
            XMLElement(
                "memoryBacking",
                children: [
                    XMLElement("source", ["type": "memfd"]), XMLElement("access", ["mode": "shared"]),
                ])
        ]
    }

    private static func filesystem(_ mount: Mount) -> XMLElement {
        var children = [
            XMLElement("source", ["dir": mount.path]), XMLElement("target", ["dir": mount.tag]),
        ]
        if mount.isReadOnly { children.append(XMLElement("readonly")) }
        if mount.isVirtiofs {
            let driver = XMLElement("driver", ["type": "virtiofs"])
            return XMLElement(
                "filesystem", ["type": "mount", "accessmode": "passthrough"], children: [driver] + children)
        }
        // `squash`: an owner that QEMU may not give to a file is no error. `remap`: file systems below the folder may use
        // the same inode numbers.
        return XMLElement(
            "filesystem", ["type": "mount", "accessmode": "squash", "multidevs": "remap"], children: children)
    }

    private var os: XMLElement {
        var children = [XMLElement("type", ["arch": "x86_64", "machine": machine], text: "hvm")]
        if let kernel {
            children.append(XMLElement("kernel", text: kernel.path))
            if let initrd = kernel.initrd { children.append(XMLElement("initrd", text: initrd)) }
            if !kernel.commandLine.isEmpty {
                children.append(XMLElement("cmdline", text: kernel.commandLine))
            }
        } else {
            children.append(XMLElement("boot", ["dev": "hd"]))
        }
        guard isEFI else { return XMLElement("os", children: children) }
        // Images of others are not signed with the keys of this firmware.
        children.insert(
            XMLElement(
                "firmware", children: [XMLElement("feature", ["enabled": "no", "name": "secure-boot"])]),
            at: 1)
        return XMLElement("os", ["firmware": "efi"], children: children)
    }

    private var devices: [XMLElement] {
        var devices: [XMLElement] = []
        if let disk {
            var root = Self.disk(disk, format: "qcow2", target: "vda")
            if let base { root.children.insert(Self.backing(base), at: 2) }
            devices.append(root)
        }
        // A virtio disk, since cloud kernels lack AHCI and with it SATA cdroms.
        devices.append(Self.disk(seed, format: "raw", target: "vdb", isReadOnly: true))
        devices += [
            XMLElement("controller", ["type": "usb", "model": "none"]),
            XMLElement(
                "interface", ["type": "user"],
                children: [
                    XMLElement("mac", ["address": macAddress]), XMLElement("model", ["type": "virtio"]),
                ]),
            XMLElement(
                "serial", ["type": "pty"],
                children: [XMLElement("log", ["file": consoleLog, "append": "on"])]),
            XMLElement(
                "console", ["type": "pty"], children: [XMLElement("target", ["type": "serial", "port": "0"])]),
            XMLElement(
                "rng", ["model": "virtio"],
                children: [XMLElement("backend", ["model": "random"], text: "/dev/urandom")]),
        ]
        devices += mounts.map(Self.filesystem)
        if hasVsock {
            let cid = XMLElement("cid", ["auto": "yes"])
            devices.append(XMLElement("vsock", ["model": "virtio"], children: [cid]))
        }
        devices += [
            XMLElement("memballoon", ["model": "none"]),
            // Lets the guest's kernel tell of its panic, so that a crashed machine is not taken for a busy one.
            XMLElement("panic", ["model": "isa"]),
        ]
        return devices
    }

    /// The same at every start: cloud-init has the guest configure its network for the card of the first boot. The prefix is
    /// that of QEMU and libvirt.
    private var macAddress: String {
        let digits = Array(uuid.filter(\.isHexDigit).suffix(6))
        let bytes = stride(from: 0, to: digits.count - 1, by: 2).map { String(digits[$0...$0 + 1]) }
        return (["52:54:00"] + bytes).joined(separator: ":")
    }

    /// Names the base, so that libvirt does not look into files to find it, and leaves the file's owner alone: it is
    /// the user's, and may serve several machines.
    private static func backing(_ base: Base) -> XMLElement {
        let label = XMLElement("seclabel", ["model": "dac", "relabel": "no"])
        return XMLElement(
            "backingStore", ["type": "file"],
            children: [
                XMLElement("format", ["type": base.format]),
                XMLElement("source", ["file": base.path], children: [label]),
                XMLElement("backingStore"),
            ])
    }

    private static func disk(
        _ path: String, format: String, target: String, isReadOnly: Bool = false
    ) -> XMLElement {
        var disk = XMLElement(
            "disk", ["type": "file", "device": "disk"],
            children: [
                XMLElement("driver", ["name": "qemu", "type": format]),
                XMLElement("source", ["file": path]),
                XMLElement("target", ["dev": target, "bus": "virtio"]),
            ])
        if isReadOnly { disk.children.append(XMLElement("readonly")) }
        return disk
    }
}
