package import AgentAPI
internal import Linux

extension PortExplanation.Container {
    /// Reads the text of `/proc/PID/cgroup` (cgroups(7)); nil when no container is recognised in it.
    ///
    /// The paths are those that the runtimes choose, with systemd's names (`docker-ID.scope`) or without
    /// (`/docker/ID`). The innermost container counts.
    package init?(controlGroups text: String) {
        for line in text.split(separator: "\n") {
            // number:controllers:path
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3 else { continue }
            let parts = fields[2].split(separator: "/").map(String.init)
            for index in parts.indices.reversed() {
                let parent = index == 0 ? nil : parts[index - 1]
                guard let found = Self(part: parts[index], parent: parent, all: parts) else { continue }
                self = found
                return
            }
        }
        return nil
    }

    /// Prefixes of the last part, each with its runtime; what follows is an id.
    private static let prefixes = [
        ("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"),
        ("nerdctl-", "containerd"), ("crio-", "cri-o"),
    ]

    private init?(part: String, parent: String?, all: [String]) {
        let name = Self.withoutUnit(part)
        for (prefix, runtime) in Self.prefixes where name.hasPrefix(prefix) {
            let id = String(name.dropFirst(prefix.count))
            if Self.isID(id) {
                self.init(runtime: runtime, name: id)
                return
            }
        }
        if name.hasPrefix("lxc.payload.") {
            self.init(runtime: "lxc", name: String(name.dropFirst("lxc.payload.".count)))
        } else if parent == "lxc" || parent == "lxc.payload" {
            self.init(runtime: "lxc", name: name)
        } else if part.hasPrefix("systemd-nspawn@"), part.hasSuffix(".service") {
            self.init(runtime: "systemd-nspawn", name: String(name.dropFirst("systemd-nspawn@".count)))
        } else if Self.isID(name), parent == "docker" {
            self.init(runtime: "docker", name: name)
        } else if Self.isID(name), parent == "default" || all.contains(where: { $0.hasPrefix("kubepods") }) {
            self.init(runtime: "containerd", name: name)
        } else {
            return nil
        }
    }

    private static func withoutUnit(_ part: String) -> String {
        for suffix in [".scope", ".service"] where part.hasSuffix(suffix) {
            return String(part.dropLast(suffix.count))
        }
        return part
    }

    /// Runtimes' ids have 64 lower-case hexadecimal digits. Twelve, as their tools show of them, are told from a name already.
    private static func isID(_ text: String) -> Bool {
        text.utf8.count >= 12
            && text.utf8.allSatisfy {
                $0.isASCIIDigit || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }
}
