internal import Linux

/// Reads `[[mounts]]`: which folders of the host the guest sees, and where.
enum ConfigMounts {
    private typealias Section = ConfigReader.Section

    private static let hostRule = "the path of a folder; a relative one starts at the folder of rum.toml"
    private static let guestRule =
        "an absolute path in the guest such as \"/work\", not one that the system itself lives in"
    /// Mounting over these would hide the guest's own system, or what rum keeps there.
    private static let system = [
        "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/opt/rum", "/proc", "/run", "/sbin",
        "/sys",
        "/usr", "/var/lib/rum",
    ]
    /// These may hold mounts, but not be one.
    private static let holders = ["/", "/home", "/opt", "/root", "/tmp", "/var", "/var/lib", "/usr/local"]

    static func parse(
        _ root: ConfigReader.Section, _ paths: PathResolver, _ reader: inout ConfigReader
    ) -> [MachineConfig.Mount] {
        var mounts: [(mount: MachineConfig.Mount, section: Section)] = []
        let sections = reader.tables("mounts", in: root, known: ["host", "guest", "readonly"])
        for section in sections {
            reader.require("host", in: section, expected: hostRule)
            reader.require("guest", in: section, expected: guestRule)
            let host = reader.value("host", in: section, expected: hostRule) { text in
                paths.resolve(text).map(PathResolver.normalised)
            }
            let guest = reader.value("guest", in: section, expected: guestRule, guestPath)
            let isReadOnly = reader.boolean("readonly", in: section) ?? false
            guard let host, let guest else { continue }
            if let old = mounts.first(where: { $0.mount.guest == guest }) {
                let line = old.section.line(of: "guest").map { "line \($0)" } ?? "another one"
                reader.fail("guest", in: section, "\(guest) is taken by \(line); expected a path used once")
            }
            mounts.append(
                (MachineConfig.Mount(host: host, guest: guest, isReadOnly: isReadOnly), section))
        }
        if sections.count > ConfigLimits.mounts {
            reader.fail("mounts", in: root, "expected at most \(ConfigLimits.mounts) of them")
        }
        return mounts.map(\.mount)
    }

    private static func guestPath(_ text: String) -> String? {
        guard text.hasPrefix("/"), text.unicodeScalars.allSatisfy(\.isPrintable), text.last != " " else {
            return nil
        }
        let path = PathResolver.normalised(text)
        let isSystem = system.contains { path == $0 || path.hasPrefix($0 + "/") }
        return isSystem && !path.hasPrefix("/usr/local/") || holders.contains(path) ? nil : path
    }
}
