internal import Glibc
internal import Linux
internal import Ports

extension MachineConfig {
    /// What of the host beyond the folder of its rum.toml the configuration asks for, a phrase each.
    ///
    /// rum.toml comes with a repository, so its first user is told. Blocks on the disk.
    ///
    /// - Parameter folder: where rum.toml is, without symbolic links.
    package func reach(beyond folder: String) -> [String] {
        var paths: [(what: String, path: String)] = []
        if case .path(let path)? = image?.base { paths.append(("the image", path)) }
        if let boot { paths.append(("the kernel", boot.kernel)) }
        if let initrd = boot?.initrd { paths.append(("the initrd", initrd)) }
        let inside = folder.hasSuffix("/") ? folder : folder + "/"
        func isBeyond(_ path: String) -> Bool { !(Self.real(path) + "/").hasPrefix(inside) }
        let files = paths.filter { isBeyond($0.path) }.map { "\($0.what) \($0.path)" }
        let folders = mounts.filter { isBeyond($0.host) }.map { mount in
            "the folder \(Self.real(mount.host)), to read\(mount.isReadOnly ? "" : " and change")"
        }
        let opensPages = autoPorts?.rules.contains { $0.opensPage != nil } ?? false
        let browser = opensPages ? ["your browser, to open pages of the guest (on_open)"] : []
        return files + folders + browser + openPorts.map { "\($0), which other hosts can reach" }
    }

    /// What is bound to other addresses than loopback.
    private var openPorts: [String] {
        let fixed = ports.filter { $0.bind.addresses.contains { !$0.isLoopback } }.map {
            $0.bind.with($0.host)
        }
        guard let autoPorts, autoPorts.bind.addresses.contains(where: { !$0.isLoopback }) else {
            return fixed
        }
        return fixed + ["ports \(autoPorts.range) of \(autoPorts.bind)"]
    }

    /// The path without symbolic links, and without `..`; as it is where nothing is there.
    private static func real(_ path: String) -> String {
        guard let resolved = realpath(path, nil) else { return path }
        defer { free(resolved) }
        return String(cString: resolved)
    }
}
