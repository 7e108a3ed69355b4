internal import Linux

/// Says which libvirt a configuration may name.
///
/// A rum.toml comes with a cloned repository, and some of libvirt's transports run programs (`qemu+ext://`, `+ssh`
/// with `command=` or `netcat=`) or read files of the user's choice. So only what is listed here is allowed: the
/// drivers and transports of this host, and parameters that name no program.
enum LibvirtURI {
    static let rule =
        "qemu:///session, qemu:///system, test:///default, or qemu+unix with socket=/PATH: only a libvirt of this host"

    private static let schemes = ["qemu", "qemu+unix"]
    private static let modes = ["auto", "legacy", "direct"]

    /// The URI in its normal form; nil for one that is not allowed.
    static func normalised(_ text: String) -> String? {
        guard let mark = text.firstRange(of: "://") else { return nil }
        let scheme = text[..<mark.lowerBound].lowercased()
        let rest = text[mark.upperBound...].split(
            separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = rest.first else { return nil }
        if scheme == "test" { return path == "/default" && rest.count == 1 ? "test:///default" : nil }
        guard schemes.contains(scheme), path == "/system" || path == "/session" else { return nil }
        guard rest.count == 2, let query = rest.last else { return "\(scheme)://\(path)" }
        var seen: Set<Substring> = []
        for parameter in query.split(separator: "&", omittingEmptySubsequences: false) {
            let parts = parameter.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, seen.insert(parts[0]).inserted, isAllowed(parts[0], parts[1]) else {
                return nil
            }
        }
        return "\(scheme)://\(path)?\(query)"
    }

    private static func isAllowed(_ name: Substring, _ value: Substring) -> Bool {
        switch name {
        case "socket": value.hasPrefix("/") && value.utf8.allSatisfy(isPathCharacter)
        case "mode": modes.contains(String(value))
        default: false
        }
    }

    /// Plain letters of a path: none that libvirt's parser or a shell reads as something else.
    private static func isPathCharacter(_ byte: UInt8) -> Bool {
        byte.isASCIIAlphanumeric || "/._-+@".utf8.contains(byte)
    }
}
