internal import Glibc

/// How the guest reaches the folders of `[[mounts]]`, and why so.
struct MountDriver: Hashable, Sendable {
    enum Kind: String, Hashable, Sendable {
        /// A virtiofsd of the host, which runs as root under the system's libvirt and as the user in a session.
        case virtiofs
        /// QEMU itself, with the rights that it has.
        case ninePFS = "9p"
    }

    let kind: Kind
    /// One sentence for the user.
    let reason: String
    /// Whether a start that failed for want of virtiofs may be tried again with 9p.
    let mayFallBack: Bool
    /// Whether not even root in the guest can write to a folder that is only to be read.
    let keepsReadOnly: Bool

    /// What a choice depends on.
    struct Facts: Hashable, Sendable {
        /// Whether this host has a virtiofsd.
        var hasVirtiofsd: Bool
        /// libvirt's version: a million for each major, a thousand for each minor number.
        var libvirtVersion: UInt
        var isSystemDaemon: Bool
        /// Whether QEMU runs as this user, or as root.
        var hasQEMUOurRights: Bool
    }

    /// The first libvirt that starts virtiofsd for a session, and the first that can tell it to refuse writing
    /// (libvirt.org/news.html).
    private static let sessionVirtiofs: UInt = 10_000_000
    private static let readOnlyVirtiofs: UInt = 11_000_000

    static func choose(_ facts: Facts) throws(MachineError) -> MountDriver {
        let canVirtiofs = facts.isSystemDaemon || facts.libvirtVersion >= sessionVirtiofs
        if facts.hasVirtiofsd, canVirtiofs {
            return MountDriver(
                kind: .virtiofs, reason: "virtiofs, since the host has virtiofsd",
                mayFallBack: facts.hasQEMUOurRights,
                keepsReadOnly: facts.libvirtVersion >= readOnlyVirtiofs)
        }
        guard facts.hasQEMUOurRights else {
            throw MachineError(
                .missingTool, "the host has no virtiofsd, which [[mounts]] needs here",
                hint: """
                    Install it, on Debian with: apt install virtiofsd (Debian 12: qemu-system-common). QEMU's own 9p \
                    runs as another user than you, so the guest could neither read nor write your files.
                    """)
        }
        return ninePFS(
            because: facts.hasVirtiofsd
                ? "virtiofs in a session needs libvirt 10" : "the host has no virtiofsd")
    }

    /// What follows a start that failed for want of virtiofs.
    static func fallback(after failure: String) -> MountDriver {
        ninePFS(because: "starting with virtiofs failed (\(failure))")
    }

    private static func ninePFS(because cause: String) -> MountDriver {
        MountDriver(kind: .ninePFS, reason: "9p, since \(cause)", mayFallBack: false, keepsReadOnly: true)
    }
}

extension VirtualMachine {
    /// How folders would be mounted on this host, whether or not the configuration has some. Connects to libvirt.
    func mountDriver() async throws(MachineError) -> MountDriver {
        var hasOurRights = true
        if isSystemDaemon, let user = try await hypervisor.qemuUser() {
            hasOurRights = user == 0 || user == geteuid()
        }
        return try MountDriver.choose(
            MountDriver.Facts(
                hasVirtiofsd: VirtiofsProgram.isInstalled(), libvirtVersion: try await hypervisor.version(),
                isSystemDaemon: isSystemDaemon, hasQEMUOurRights: hasOurRights))
    }
}
