package import Ports

/// A validated rum.toml: which machine to boot and which of its ports to forward.
package struct MachineConfig: Hashable, Sendable {
    /// The machine's name: `name`, else what stands before `.rum.toml`, else the folder's name.
    package var name: String
    /// The file it was read from, as the user named it.
    package var file: String
    /// nil only when `boot` brings its own root file system in an initrd.
    package var image: Image?
    package var boot: Boot?
    package var resources = Resources()
    /// `[[ports]]`.
    package var ports: [StaticPort] = []
    /// `[auto_ports]`.
    package var autoPorts: AutoPorts?
    package var provision = Provision()
    package var ssh = SSH()
    package var advanced = Advanced()

    package init(name: String, file: String) {
        self.name = name
        self.file = file
    }

    /// Whether some forward is bound to the machine's own address.
    package var needsOwnAddress: Bool {
        autoPorts?.bind == .machine || ports.contains { $0.bind == .machine }
    }

    /// `[image]`: the disk that the machine's own disk starts as a copy of.
    package struct Image: Hashable, Sendable {
        package enum Source: Hashable, Sendable {
            /// An http or https URL.
            case url(String)
            /// An absolute path of a qcow2 or raw file.
            case path(String)
        }
        package var base: Source
        /// 64 lower-case hexadecimal digits.
        package var sha256: String?

        package init(base: Source, sha256: String? = nil) {
            self.base = base
            self.sha256 = sha256
        }
    }

    /// `[boot]`: a kernel that is started directly, without boot loader. Paths are absolute.
    package struct Boot: Hashable, Sendable {
        package var kernel: String
        package var initrd: String?
        package var commandLine: String

        package init(kernel: String, initrd: String? = nil, commandLine: String = "") {
            self.kernel = kernel
            self.initrd = initrd
            self.commandLine = commandLine
        }
    }

    /// `[resources]`.
    package struct Resources: Hashable, Sendable {
        package var cpus = 2
        package var memoryMB = 2048
        /// The size of the root disk.
        package var disk = ByteSize(bytes: 20 << 30)

        package init() {}
    }

    /// `[provision.system]` and `[provision.boot]`: shell scripts run as root in the guest.
    package struct Provision: Hashable, Sendable {
        /// Run once, on the machine's first boot.
        package var system: String?
        /// Run on every boot.
        package var boot: String?

        package init() {}
    }

    /// `[ssh]`.
    package struct SSH: Hashable, Sendable {
        package var user = "rum"
        /// Lines of an authorized_keys file.
        package var authorizedKeys: [String] = []

        package init() {}
    }

    /// `[advanced]`.
    package struct Advanced: Hashable, Sendable {
        /// nil: `qemu:///session`, or `qemu:///system` as root.
        package var libvirtURI: String?
        package var domainType = DomainType.auto
        package var machine = "q35"
        package var channel = Channel.auto

        package init() {}
    }

    /// `advanced.domain_type`: the accelerator.
    package enum DomainType: String, Hashable, Sendable, CaseIterable {
        case auto, kvm, qemu
    }

    /// `advanced.channel`: how the agent is reached.
    package enum Channel: String, Hashable, Sendable, CaseIterable {
        case auto, vsock, tcp
    }
}
