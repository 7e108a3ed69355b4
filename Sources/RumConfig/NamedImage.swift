internal import Linux

/// A cloud image that rum.toml can call by a short name, and where its checksum is found.
package struct NamedImage: Hashable, Sendable {
    package let name: String
    /// Where the x86-64 image with cloud-init is.
    package let url: String
    /// The list of checksums that its makers publish: lines of `DIGEST  FILE` or `SHA256 (FILE) = DIGEST`.
    package let sums: String

    /// `sums` is the name of the list, or a suffix of the image's own name when it starts with a point.
    private init(_ name: String, _ folder: String, _ file: String, sums: String) {
        self.name = name
        url = "https://\(folder)/\(file)"
        self.sums = sums.hasPrefix(".") ? url + sums : "https://\(folder)/\(sums)"
    }

    /// The image called `name`.
    package static func named(_ name: String) -> NamedImage? { all.first { $0.name == name } }

    /// The images whose names resemble `name`, the nearest first: misspelt ones, and others of the same system.
    static func near(_ name: String) -> [String] {
        let names = all.map(\.name)
        let family = name.prefix { $0.isLetter }.lowercased()
        let closest = Suggestion.closest(to: name, among: names)
        let related = names.filter { name in
            let other = name.prefix { $0.isLetter }
            return !family.isEmpty && (other.hasPrefix(family) || family.hasPrefix(other)) && name != closest
        }
        return [closest].compactMap { $0 } + related
    }

    /// All of them, by name.
    package static let all: [NamedImage] = [
        NamedImage(
            "alma-9", "repo.almalinux.org/almalinux/9/cloud/x86_64/images",
            "AlmaLinux-9-GenericCloud-latest.x86_64.qcow2", sums: "CHECKSUM"),
        NamedImage(
            "alma-10", "repo.almalinux.org/almalinux/10/cloud/x86_64/images",
            "AlmaLinux-10-GenericCloud-latest.x86_64.qcow2", sums: "CHECKSUM"),
        NamedImage(
            "alpine-3.22", "dl-cdn.alpinelinux.org/alpine/v3.22/releases/cloud",
            "nocloud_alpine-3.22.4-x86_64-bios-cloudinit-r0.qcow2", sums: ".sha512"),
        NamedImage(
            "arch", "geo.mirror.pkgbuild.com/images/latest", "Arch-Linux-x86_64-cloudimg.qcow2",
            sums: ".SHA256"),
        NamedImage(
            "centos-stream-9", "cloud.centos.org/centos/9-stream/x86_64/images",
            "CentOS-Stream-GenericCloud-9-latest.x86_64.qcow2", sums: ".SHA256SUM"),
        NamedImage(
            "centos-stream-10", "cloud.centos.org/centos/10-stream/x86_64/images",
            "CentOS-Stream-GenericCloud-10-latest.x86_64.qcow2", sums: ".SHA256SUM"),
        // Of Debian's two kinds the one with the full kernel: that of genericcloud has no 9p, which mounts may need.
        NamedImage(
            "debian-11", "cloud.debian.org/images/cloud/bullseye/latest", "debian-11-generic-amd64.qcow2",
            sums: "SHA512SUMS"),
        NamedImage(
            "debian-12", "cloud.debian.org/images/cloud/bookworm/latest", "debian-12-generic-amd64.qcow2",
            sums: "SHA512SUMS"),
        NamedImage(
            "debian-13", "cloud.debian.org/images/cloud/trixie/latest", "debian-13-generic-amd64.qcow2",
            sums: "SHA512SUMS"),
        NamedImage(
            "fedora-42", "dl.fedoraproject.org/pub/archive/fedora/linux/releases/42/Cloud/x86_64/images",
            "Fedora-Cloud-Base-Generic-42-1.1.x86_64.qcow2", sums: "Fedora-Cloud-42-1.1-x86_64-CHECKSUM"),
        NamedImage(
            "fedora-43", "download.fedoraproject.org/pub/fedora/linux/releases/43/Cloud/x86_64/images",
            "Fedora-Cloud-Base-Generic-43-1.6.x86_64.qcow2", sums: "Fedora-Cloud-43-1.6-x86_64-CHECKSUM"),
        NamedImage(
            "opensuse-leap-15.6", "download.opensuse.org/distribution/leap/15.6/appliances",
            "openSUSE-Leap-15.6-Minimal-VM.x86_64-Cloud.qcow2", sums: ".sha256"),
        NamedImage(
            "opensuse-leap-16.0", "download.opensuse.org/distribution/leap/16.0/appliances",
            "Leap-16.0-Minimal-VM.x86_64-Cloud.qcow2", sums: ".sha256"),
        NamedImage(
            "opensuse-tumbleweed", "download.opensuse.org/tumbleweed/appliances",
            "openSUSE-Tumbleweed-Minimal-VM.x86_64-Cloud.qcow2", sums: ".sha256"),
        NamedImage(
            "rocky-9", "dl.rockylinux.org/pub/rocky/9/images/x86_64",
            "Rocky-9-GenericCloud-Base.latest.x86_64.qcow2", sums: ".CHECKSUM"),
        NamedImage(
            "rocky-10", "dl.rockylinux.org/pub/rocky/10/images/x86_64",
            "Rocky-10-GenericCloud-Base.latest.x86_64.qcow2", sums: ".CHECKSUM"),
        NamedImage(
            "ubuntu-22.04", "cloud-images.ubuntu.com/releases/22.04/release",
            "ubuntu-22.04-server-cloudimg-amd64.img", sums: "SHA256SUMS"),
        NamedImage(
            "ubuntu-24.04", "cloud-images.ubuntu.com/releases/24.04/release",
            "ubuntu-24.04-server-cloudimg-amd64.img", sums: "SHA256SUMS"),
    ]
}
