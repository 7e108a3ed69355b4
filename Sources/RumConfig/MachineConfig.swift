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
    /// `boot.firmware`.
    package var firmware = Firmware.auto
    package var resources = Resources()
    /// `[[ports]]`.
    package var ports: [StaticPort] = []
    /// `[auto_ports]`.
    package var autoPorts: AutoPorts?
    /// `[[mounts]]`.
    package var mounts: [Mount] = []
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
            /// One of `NamedImage.all`.
            case named(NamedImage)
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

    /// `boot.firmware`: what starts the image's boot loader.
    package enum Firmware: String, Hashable, Sendable, CaseIterable {
        /// UEFI for an image that only UEFI can start, else BIOS.
        case auto
        case bios, efi
    }

    /// `[resources]`.
    package struct Resources: Hashable, Sendable {
        package var cpus = 2
        package var memoryMB = 2048
        /// The size of the root disk.
        package var disk = ByteSize(bytes: 20 << 30)

        package init() {}
    }

    /// One of `[[mounts]]`: a folder of the host that the guest sees.
    package struct Mount: Hashable, Sendable {
        /// An absolute path.
        package var host: String
        /// An absolute path without `.`, `..` and doubled slashes.
        package var guest: String
        package var isReadOnly: Bool

        package init(host: String, guest: String, isReadOnly: Bool = false) {
            self.host = host
            self.guest = guest
            self.isReadOnly = isReadOnly
        }
    }

    /// `[provision.system]` and `[provision.boot]`: shell scripts run as root in the guest.
    package struct Provision: Hashable, Sendable {
        /// Run on each boot until it has succeeded once.
        package var system: String?
        /// Run on every boot.
        package var boot: String?
        /// What `rum up` does when a script has failed.
        package var onFailure = OnFailure.keepGoing

        package init() {}

        /// `provision.on_failure`.
        package enum OnFailure: String, Hashable, Sendable, CaseIterable {
            /// The machine and its forwards stay, so that somebody can look.
            case keepGoing = "continue"
            /// `rum up` ends with an error; the machine runs on.
            case stop
        }
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
