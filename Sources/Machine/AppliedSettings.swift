internal import Ports
internal import RumConfig

/// What a machine was made and started with: keys of rum.toml and their values.
///
/// Kept in the machine's record, so that the next `rum up` can say what has changed and when that takes effect.
struct AppliedSettings: Codable, Hashable, Sendable {
    /// When a changed value takes effect.
    enum Moment: Hashable {
        /// With the `rum up` that reads it.
        case now
        /// When the machine is started.
        case start
        /// When it gets a fresh disk.
        case reset
    }

    /// A value that differs from the one in use.
    struct Change: Hashable {
        let key: String
        let old: String
        let new: String
        let moment: Moment
    }

    /// By key. Texts that are long, or may hold secrets, are there as fingerprints.
    private var values: [String: String]

    init(_ config: MachineConfig) {
        values = [
            "image.base": Self.fingerprint(config.image.map { Self.text($0.base) }),
            "image.sha256": config.image?.sha256 ?? "none",
            "boot.kernel": config.boot?.kernel ?? "none",
            "boot.initrd": config.boot?.initrd ?? "none",
            "boot.firmware": config.firmware.rawValue,
            "boot.cmdline": Self.fingerprint(config.boot?.commandLine),
            "resources.cpus": "\(config.resources.cpus)",
            "resources.memory_mb": "\(config.resources.memoryMB)",
            "resources.disk": "\(config.resources.disk)",
            "ports": Self.fingerprint("\(config.ports)"),
            "auto_ports": Self.fingerprint(
                config.autoPorts.map { ports in
                    // Nothing for the default: a record of before there was the key says the same.
                    let max = ports.max == AutoPorts.defaultMax ? "" : " \(ports.max)"
                    let rules = ports.rules.isEmpty ? "" : " \(ports.rules.map(\.withoutPlace))"
                    return
                        "\(ports.range) \(ports.bind) \(ports.ignore.sorted()) \(ports.allow)\(max)\(rules)"
                }),
            "mounts": Self.fingerprint(config.mounts.isEmpty ? nil : "\(config.mounts)"),
            "provision.system.script": Self.fingerprint(config.provision.system),
            "provision.boot.script": Self.fingerprint(config.provision.boot),
            "provision.on_failure": config.provision.onFailure.rawValue,
            "ssh.user": config.ssh.user,
            "ssh.authorized_keys": Self.fingerprint("\(config.ssh.authorizedKeys)"),
            "advanced.domain_type": config.advanced.domainType.rawValue,
            "advanced.machine": config.advanced.machine,
            "advanced.channel": config.advanced.channel.rawValue,
        ]
    }

    /// The guest's user.
    var user: String? { values["ssh.user"] }

    /// What cloud-init does once, on a fresh disk, can only be done again on another.
    private static let onReset: Set<String> = ["image.base", "image.sha256", "provision.system.script"]
    private static let atOnce: Set<String> = ["ports", "auto_ports", "provision.on_failure"]

    private func moment(_ key: String, from old: String, to new: String) -> Moment {
        if Self.atOnce.contains(key) { return .now }
        if Self.onReset.contains(key) { return .reset }
        guard key == "resources.disk", let before = ByteSize(text: old), let after = ByteSize(text: new)
        else {
            return .start
        }
        // A smaller disk would cut off data.
        return after < before ? .reset : .start
    }

    /// What `wanted` has otherwise, in the order of the keys.
    func changes(to wanted: AppliedSettings) -> [Change] {
        values.keys.sorted().compactMap { key in
            guard let old = values[key], let new = wanted.values[key], old != new else { return nil }
            return Change(key: key, old: old, new: new, moment: moment(key, from: old, to: new))
        }
    }

    /// Takes over those values of `wanted` that take effect at the `moments`.
    mutating func apply(_ wanted: AppliedSettings, at moments: Set<Moment>) {
        for change in changes(to: wanted) where moments.contains(change.moment) {
            values[change.key] = change.new
        }
        // Keys that an older record does not have.
        values.merge(wanted.values) { known, _ in known }
    }

    /// A named image is the same when its makers move it.
    private static func text(_ source: MachineConfig.Image.Source) -> String {
        if case .named(let image) = source { return "named(\(image.name))" }
        return "\(source)"
    }

    private static func fingerprint(_ text: String?) -> String {
        text.map { "#" + Fingerprint.of($0) } ?? "none"
    }
}

extension AppliedSettings.Change {
    /// One line for the user; `forwarder` is the process that goes on forwarding, if there is one.
    func sentence(wasStarted: Bool, forwarder: PortForwarder? = nil) -> String {
        let values = [old, new].contains { $0.hasPrefix("#") } ? "" : " from \(old) to \(new)"
        let effect =
            switch moment {
            case .now: (forwarder?.nextTime).map { "takes effect \($0)" } ?? "applied"
            case .start: wasStarted ? "applied" : "takes effect at the next start (`rum down`, `rum up`)"
            case .reset:
                (key == "provision.system.script"
                    ? "run at a start until one has succeeded on this disk; then it " : "")
                    + "needs a fresh disk (`rum up --reset`)"
            }
        return "\(key) has changed\(values): \(effect)"
    }
}

extension PortRule {
    /// A rule that only moved to another line has not changed.
    fileprivate var withoutPlace: PortRule {
        var rule = self
        rule.line = nil
        return rule
    }
}
