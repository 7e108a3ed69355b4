import Foundation
import Linux
import Ports
import RumConfig

/// What `rum init` writes into a rum.toml. All is text as a user types it; `problem(with:)` says what is no good.
struct InitAnswers: Equatable, Sendable {
    var name: String
    var image = "debian-12"
    var cpus = "2"
    var memory = "2048"
    var disk = "20G"
    /// Empty for none.
    var autoPorts = Self.usualPorts
    /// Whose rules for ports are taken over; nil for none.
    var devContainer: DevContainer?

    private static let usualPorts = "3000-9999"

    /// The defaults for a rum.toml at `path`, which is absolute.
    init(path: String) {
        let parts = path.split(separator: "/")
        let file = parts.last.map(String.init) ?? ""
        let suffix = ".rum.toml"
        let source = file.hasSuffix(suffix) ? String(file.dropLast(suffix.count)) : ""
        let words = source.isEmpty ? parts.dropLast().last.map(String.init) ?? "" : source
        let allowed = words.map {
            $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) ? $0 : "-"
        }
        let name = String(String(allowed).drop { !$0.isLetter && !$0.isNumber }.prefix(40))
        self.name = name.isEmpty ? "dev" : name
    }

    /// Takes over the rules of a devcontainer.json, with a range that all of them lie in.
    mutating func take(_ container: DevContainer) {
        devContainer = container
        guard let ports = container.range, let usual = PortRange(text: Self.usualPorts) else { return }
        autoPorts = "\(min(usual.lower, ports.lower))-\(max(usual.upper, ports.upper))"
    }

    /// One thing that is asked.
    struct Question: Sendable {
        let key: String
        let text: String
        let answer: any WritableKeyPath<InitAnswers, String> & Sendable
    }

    static let questions = [
        Question(key: "name", text: "Name of the machine", answer: \.name),
        Question(
            key: "image.base", text: "Image: a name of `rum images list`, a URL, or the path of a file",
            answer: \.image),
        Question(key: "resources.cpus", text: "CPUs", answer: \.cpus),
        Question(
            key: "resources.memory_mb", text: "Memory in MiB, or with a unit, such as 4G", answer: \.memory),
        Question(key: "resources.disk", text: "Size of the disk", answer: \.disk),
        Question(
            key: "auto_ports.range", text: "Ports to forward while something listens (none: -)",
            answer: \.autoPorts),
    ]

    /// What is wrong with the value of `key`, in the words with which `rum up` would refuse it; nil when it is fine.
    func problem(with key: String) -> String? {
        do throws(ConfigErrors) {
            _ = try MachineConfig.parse(document, file: "/rum.toml")
            return nil
        } catch {
            // Rules of a devcontainer.json lie in the range and its ports of the system outside, or can't be taken over.
            let parts = key == "auto_ports.range" ? ["auto_ports.rule", "ports"] : []
            return error.problems.first { problem in
                problem.key == key || parts.contains { problem.key?.hasPrefix($0) == true }
            }?.message
        }
    }

    /// The whole rum.toml.
    var document: String {
        """
        # A machine for rum. `rum up` creates and starts it, `rum down` stops it, `rum destroy` removes it.
        # `man rum.toml` lists every key.

        name = \(Self.quoted(name))

        [image]
        # The disk that the machine starts from, with cloud-init in it: a name of `rum images list`, a URL or a path.
        base = \(Self.quoted(image))
        # sha256 = "0000000000000000000000000000000000000000000000000000000000000000"

        [resources]
        cpus = \(Self.number(cpus))
        memory_mb = \(Self.number(memory, isMemory: true))
        # As the guest sees it; the file on this host grows as it fills.
        disk = \(Self.quoted(disk))

        \(autoPortsSection)
        \(portsSection)
        # A folder of this host that the guest sees, present before the scripts below are run:
        # [[mounts]]
        # host = "."
        # guest = "/work"
        # readonly = true

        # A script that is run as root, once on a fresh disk. [provision.boot] is run at every boot.
        # [provision.system]
        # script = \"""
        # apt-get update
        # apt-get install -y postgresql
        # \"""

        # Who may log in by ssh, beside the machine's own key:
        # [ssh]
        # authorized_keys = ["ssh-ed25519 AAAA... you@host"]

        """
    }

    private var autoPortsSection: String {
        let isWanted = !autoPorts.isEmpty
        let section = """
            [auto_ports]
            range = \(Self.quoted(isWanted ? autoPorts : Self.usualPorts))
            """
        let comment = """
            # What listens in the guest on one of these ports is reachable on the same port of this host meanwhile.
            """
        let lines = section.split(separator: "\n").map { isWanted ? String($0) : "# \($0)" }
        let rules = isWanted ? devContainer?.rules ?? [] : []
        return ([comment] + lines + ["# ignore = [5353]", ""] + rules.flatMap(Self.lines)).joined(
            separator: "\n")
    }

    private static func lines(of rule: DevContainer.Rule) -> [String] {
        let title = rule.title.isEmpty ? [] : ["# " + rule.title.printable(limit: 100)]
        return title + ["[[auto_ports.rule]]"] + rule.lines + [""]
    }

    private var portsSection: String {
        let fixed = (devContainer?.fixedPorts ?? []).map {
            "[[ports]]\nhost = \($0)\nguest = \($0)\n"
        }
        let example = "# [[ports]]\n# host = 18080\n# guest = 80\n"
        return
            (["# A port that is open on this host before anything listens in the guest:"]
            + (fixed.isEmpty ? [example] : fixed)).joined(separator: "\n")
    }

    /// A whole number as it is, a size in MiB, and anything else as a text, which the configuration then refuses.
    private static func number(_ text: String, isMemory: Bool = false) -> String {
        if let number = Int(text) { return "\(number)" }
        if isMemory, let size = ByteSize(text: text) { return "\(size.bytes >> 20)" }
        return quoted(text)
    }

    /// A basic string of TOML.
    static func quoted(_ text: String) -> String {
        let escaped = text.unicodeScalars.reduce(into: "") { result, scalar in
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case _ where scalar.value < 0x20 || scalar.value == 0x7f:
                result += "\\u" + scalar.value.hexadecimal(digits: 4)
            default: result.unicodeScalars.append(scalar)
            }
        }
        return "\"\(escaped)\""
    }
}
