internal import Glibc
internal import RumConfig

/// A folder of the host that a machine is to see, as it is on the disk.
struct HostFolder: Hashable {
    /// Without links.
    let path: String
    let owner: UInt32
    let mount: MachineConfig.Mount

    /// Looks at the folder of `mount`, which is the one with the number `index`; throws when it is none.
    init(_ mount: MachineConfig.Mount, index: Int) throws(MachineError) {
        var status = stat()
        guard stat(mount.host, &status) == 0, let real = realpath(mount.host, nil) else {
            throw MachineError(
                .files, "mounts[\(index)].host: there is no folder \(mount.host)",
                hint: "Create it, or correct the path; a relative one starts at the folder of rum.toml.")
        }
        defer { free(real) }
        path = String(cString: real)
        guard status.st_mode & S_IFMT == S_IFDIR else {
            throw MachineError(
                .files, "mounts[\(index)].host: \(mount.host) is not a folder",
                hint: "Name the folder that the file is in.")
        }
        owner = status.st_uid
        self.mount = mount
    }

    /// All folders of a configuration.
    static func all(_ config: MachineConfig) throws(MachineError) -> [HostFolder] {
        var folders: [HostFolder] = []
        for (index, mount) in config.mounts.enumerated() {
            folders.append(try HostFolder(mount, index: index))
        }
        return folders
    }

    /// The user ID that the guest's user should have, so that files it makes belong to the host's user: that user's own.
    /// For root the owner of the first folder; nil leaves it to the guest.
    static func guestUserID(_ folders: [HostFolder]) -> UInt32? {
        let user = geteuid()
        if user != 0 { return user >= firstOrdinary ? user : nil }
        return folders.first.flatMap { $0.owner >= firstOrdinary ? $0.owner : nil }
    }

    /// Below it are the accounts of the system (login.defs(5), UID_MIN).
    private static let firstOrdinary: UInt32 = 1000
}
