/// Something that the guest's console tells about its start.
package enum ConsoleNews: Hashable, Sendable {
    /// The guest reads the seed.
    case seedFound
    /// The agent, the user and the mounts are in place.
    case installed
    case installFailed(String)
    /// Something is not as rum.toml asks, but the guest goes on.
    case warning(String)
    /// The guest's kernel cannot do vsock; its agent listens on tcp.
    case noVsock
    /// The guest waits for a log-in, and nothing has read the seed.
    case noCloudInit
    /// The image is set up by Ignition, which does not read the seed.
    case ignition
    case notBootable
    case emergency
    case panic

    /// What the user reads about it; nil for what goes as it should. `virsh` reaches the libvirt that has the domain.
    package func sentence(domain: String, virsh: String) -> String? {
        switch self {
        case .seedFound, .installed: nil
        case .noVsock: "the guest's kernel has no vsock; its agent is reached by tcp"
        case .warning(let text): "the guest says: \(text)"
        case .installFailed(let text): "the agent could not be installed in the guest: \(text)"
        case .noCloudInit:
            """
            the guest has booted, but nothing in it has read the seed: its image seems to have no cloud-init. Take an \
            image with cloud-init (`rum images list`), or log in (\(virsh) console \(domain)) and install the agent as \
            root: mount -o ro /dev/disk/by-label/CIDATA /mnt && sh /mnt/install
            """
        case .ignition:
            """
            the image is set up by Ignition (as Fedora CoreOS and Flatcar are) and not by cloud-init; take an image with \
            cloud-init (`rum images list`)
            """
        case .notBootable:
            """
            the firmware finds nothing to boot on the disk: the image may be for the other kind of firmware \
            (boot.firmware = "bios" or "efi" in rum.toml)
            """
        case .emergency:
            "the guest has stopped in its emergency shell, since it misses a disk or a file system"
        case .panic: "the guest's kernel has panicked"
        }
    }
}
