internal import Linux
internal import Ports

/// Turns a parsed document into a `MachineConfig`, section by section.
struct ConfigParser {
    typealias Section = ConfigReader.Section

    private var reader: ConfigReader
    private let root: Section
    private let paths: PathResolver

    /// `path` is the absolute path of the file; `file` is how the user named it.
    init(root: TOMLTable, file: String, path: String, home: String?) {
        reader = ConfigReader(file: file)
        self.root = Section(path: "", line: nil, entries: root.entries)
        paths = PathResolver(file: path, home: home)
    }

    /// The configuration, or every problem of the document.
    mutating func parse() throws(ConfigErrors) -> MachineConfig {
        let sections = [
            "name", "image", "boot", "resources", "ports", "auto_ports", "mounts", "provision", "ssh",
            "advanced",
        ]
        reader.checkKeys(of: root, known: sections)
        var config = MachineConfig(name: parseName(), file: reader.file)
        config.boot = parseBoot(&config)
        config.image = parseImage(isOptional: config.boot?.initrd != nil)
        config.resources = parseResources()
        config.ports = parsePorts()
        config.autoPorts = parseAutoPorts(beside: config.ports)
        config.mounts = ConfigMounts.parse(root, paths, &reader)
        config.provision = parseProvision()
        config.ssh = parseSSH()
        config.advanced = parseAdvanced()
        guard reader.problems.isEmpty else { throw ConfigErrors(reader.problems) }
        return config
    }

    private mutating func parseName() -> String {
        if root.entries["name"] != nil { return parseGivenName() }
        let name = MachineName.derive(fromPath: paths.file)
        if !MachineName.isValid(name) {
            let found = name.isEmpty ? "none can be derived from the file's place" : "\"\(name)\" is no name"
            reader.fail(
                "name", in: root, "\(found); expected a key name with \(MachineName.rule)")
        }
        return name
    }

    private mutating func parseGivenName() -> String {
        guard let text = reader.string("name", in: root, expected: MachineName.rule) else { return "" }
        do {
            let name = try NameTemplate.filled(text, for: paths.file)
            if MachineName.isValid(name) { return name }
            reader.fail("name", in: root, "\(reader.shown("name", in: root)) is not \(MachineName.rule)")
        } catch {
            reader.fail("name", in: root, error.message)
        }
        return ""
    }

    // MARK: - What boots

    private mutating func parseImage(isOptional: Bool) -> MachineConfig.Image? {
        let expected =
            "a name of `rum images list`, a URL (http or https), or the path of a qcow2 or raw file"
        guard root.entries["image"] != nil else {
            // An initrd can be the whole system; without one there is nothing to boot from.
            if !isOptional {
                reader.fail("image", in: root, "missing; expected [image] with base = \(expected)")
            }
            return nil
        }
        guard let section = reader.table("image", in: root, known: ["base", "sha256"]) else { return nil }
        reader.require("base", in: section, expected: expected)
        let base: MachineConfig.Image.Source?
        if case .string(let name)? = section.entries["base"]?.value, PathResolver.isName(name),
            NamedImage.named(name) == nil
        {
            base = nil
            failUnknownImage(name, in: section)
        } else {
            base = reader.value("base", in: section, expected: expected, paths.imageSource)
        }
        let digest = reader.value("sha256", in: section, expected: "64 hexadecimal digits") { text in
            text.utf8.count == 64 && text.utf8.allSatisfy(\.isASCIIHexDigit) ? text.lowercased() : nil
        }
        return base.map { MachineConfig.Image(base: $0, sha256: digest) }
    }

    private mutating func failUnknownImage(_ name: String, in section: Section) {
        let near = NamedImage.near(name)
        let known = near.isEmpty ? NamedImage.all.map(\.name) : near
        reader.fail(
            "base", in: section,
            "there is no image named \"\(name.printable(limit: ConfigLimits.shownText))\"; "
                + (near.isEmpty ? "expected one of " : "did you mean ")
                + known.prefix(ConfigLimits.shownNames).joined(separator: ", ")
                + (near.isEmpty ? "." : "?") + " A path needs a / or a suffix.")
    }

    private mutating func parseBoot(_ config: inout MachineConfig) -> MachineConfig.Boot? {
        let keys = ["kernel", "initrd", "cmdline", "firmware"]
        guard let section = reader.table("boot", in: root, known: keys) else { return nil }
        config.firmware =
            reader.value(
                "firmware", in: section, expected: "auto, bios or efi", MachineConfig.Firmware.init)
            ?? config.firmware
        // The firmware alone, of an image that boots by itself.
        if section.entries["firmware"] != nil, section.entries.count == 1 { return nil }
        reader.require("kernel", in: section, expected: "the path of a Linux kernel")
        let kernel = reader.value(
            "kernel", in: section, expected: "the path of a Linux kernel", paths.resolve)
        let initrd = reader.value("initrd", in: section, expected: "the path of an initrd", paths.resolve)
        let commandLine = reader.value("cmdline", in: section, expected: "one line of text") { text in
            text.unicodeScalars.allSatisfy(\.isPrintable) ? text : nil
        }
        return kernel.map { MachineConfig.Boot(kernel: $0, initrd: initrd, commandLine: commandLine ?? "") }
    }

    private mutating func parseResources() -> MachineConfig.Resources {
        var resources = MachineConfig.Resources()
        guard let section = reader.table("resources", in: root, known: ["cpus", "memory_mb", "disk"]) else {
            return resources
        }
        resources.cpus = reader.integer("cpus", in: section, ConfigLimits.cpus) ?? resources.cpus
        resources.memoryMB =
            reader.integer("memory_mb", in: section, ConfigLimits.memoryMB) ?? resources.memoryMB
        let expected = "a size from 16M to 64T such as \"20G\" (units K, M, G, T)"
        resources.disk =
            reader.value("disk", in: section, expected: expected) { text in
                ByteSize(text: text).flatMap { ConfigLimits.diskBytes.contains($0.bytes) ? $0 : nil }
            } ?? resources.disk
        return resources
    }

    // MARK: - Ports

    private static let bindExpectation =
        "an IP address such as 127.0.0.1 or ::1, localhost for both of them, or machine for the machine's own address"
    private static let ports = 1...65535

    private mutating func parsePorts() -> [StaticPort] {
        var ports: [(port: StaticPort, section: Section)] = []
        for section in reader.tables("ports", in: root, known: ["host", "guest", "bind", "allow"]) {
            reader.require("host", in: section, expected: "a host port")
            reader.require("guest", in: section, expected: "a guest port")
            let host = port("host", in: section)
            let guest = port("guest", in: section)
            let bind = reader.value(
                "bind", in: section, expected: Self.bindExpectation, Self.bindAddress)
            let allow = allow(in: section)
            guard let host, let guest else { continue }
            let new = StaticPort(
                bind: bind ?? .loopback, host: host, guest: guest, allow: allow ?? .me)
            if let old = ports.first(where: { $0.port.host == host && $0.port.bind.collides(with: new.bind) })
            {
                let place = Self.place(of: "host", in: old.section)
                reader.fail(
                    "host", in: section, "host port \(host) is taken by \(place); expected a port used once")
            }
            ports.append((new, section))
        }
        checkOverlap(ports)
        return ports.map(\.port)
    }

    /// A static host port inside the automatic range would be wanted twice.
    private mutating func checkOverlap(_ ports: [(port: StaticPort, section: Section)]) {
        guard case .table(let table)? = root.entries["auto_ports"]?.value, let node = table.entries["range"],
            case .string(let text) = node.value, let range = PortRange(text: text)
        else { return }
        for (port, section) in ports where range.contains(port.host) {
            let place = "auto_ports.range \(range) (line \(node.line))"
            reader.fail(
                "host", in: section, "host port \(port.host) lies in \(place); expected one outside it")
        }
    }

    private static func place(of key: String, in section: Section) -> String {
        section.line(of: key).map { "line \($0)" } ?? "another one"
    }

    private mutating func parseAutoPorts(beside fixed: [StaticPort]) -> AutoPorts? {
        let keys = ["range", "bind", "ignore", "allow", "max", "rule"]
        guard let section = reader.table("auto_ports", in: root, known: keys) else { return nil }
        reader.require("range", in: section, expected: PortRange.rule)
        let range = reader.value("range", in: section, expected: PortRange.rule) { text in
            text.contains("-") ? PortRange(text: text) : nil
        }
        let bind = reader.value("bind", in: section, expected: Self.bindExpectation, Self.bindAddress)
        let ignore = reader.integers("ignore", in: section, Self.ports)
        let allow = allow(in: section)
        let max = reader.integer("max", in: section, 1...AutoPorts.mostAllowed)
        let rules = ConfigRules.parse(section, in: range, beside: fixed, &reader)
        guard let range else { return nil }
        var autoPorts = AutoPorts(range: range, allow: allow ?? .me)
        autoPorts.bind = bind ?? .loopback
        autoPorts.max = max ?? AutoPorts.defaultMax
        autoPorts.rules = rules
        autoPorts.ignore = Set((ignore ?? []).compactMap { PortNumber(exactly: $0) })
        return autoPorts
    }

    private static func bindAddress(_ text: String) -> BindAddress? {
        text == BindAddress.machine.text ? .machine : BindAddress(text: text)
    }

    private mutating func allow(in section: Section) -> AllowedClients? {
        reader.value(
            "allow", in: section, expected: "me, or host for every user of it", AllowedClients.init(rawValue:)
        )
    }

    private mutating func port(_ key: String, in section: Section) -> PortNumber? {
        reader.integer(key, in: section, Self.ports).flatMap { PortNumber(exactly: $0) }
    }

    // MARK: - Inside the guest

    private mutating func parseProvision() -> MachineConfig.Provision {
        var provision = MachineConfig.Provision()
        guard let section = reader.table("provision", in: root, known: ["system", "boot", "on_failure"])
        else {
            return provision
        }
        provision.onFailure =
            reader.value(
                "on_failure", in: section, expected: "continue or stop",
                MachineConfig.Provision.OnFailure.init) ?? provision.onFailure
        provision.system = script("system", in: section)
        provision.boot = script("boot", in: section)
        return provision
    }

    private mutating func script(_ key: String, in section: Section) -> String? {
        guard let table = reader.table(key, in: section, known: ["script"]) else { return nil }
        let expected = "a shell script"
        reader.require("script", in: table, expected: expected)
        return reader.string("script", in: table, expected: expected)
    }

    private mutating func parseSSH() -> MachineConfig.SSH {
        var ssh = MachineConfig.SSH()
        guard let section = reader.table("ssh", in: root, known: ["user", "authorized_keys"]) else {
            return ssh
        }
        let userRule = "a user name: up to 32 of a-z, 0-9, '-' and '_', the first a letter or '_'"
        ssh.user = reader.value("user", in: section, expected: userRule, Self.userName) ?? ssh.user
        let keyRule = "a public key on one line, such as \"ssh-ed25519 AAAA... you@host\""
        ssh.authorizedKeys =
            reader.strings("authorized_keys", in: section, expected: keyRule, Self.isPublicKey) ?? []
        return ssh
    }

    private static func userName(_ text: String) -> String? {
        let isName = text.utf8.enumerated().allSatisfy { index, byte in
            byte.isASCIILowercase || byte == UInt8(ascii: "_")
                || index > 0 && (byte.isASCIIDigit || byte == UInt8(ascii: "-"))
        }
        return isName && (1...ConfigLimits.userName).contains(text.utf8.count) ? text : nil
    }

    private static func isPublicKey(_ text: String) -> Bool {
        let fields = text.split(separator: " ")
        return fields.count >= 2 && text.unicodeScalars.allSatisfy(\.isPrintable)
            && fields.contains { $0.hasPrefix("ssh-") || $0.hasPrefix("ecdsa-") || $0.hasPrefix("sk-") }
    }

    // MARK: - Advanced

    private mutating func parseAdvanced() -> MachineConfig.Advanced {
        var advanced = MachineConfig.Advanced()
        let keys = ["libvirt_uri", "domain_type", "machine", "channel"]
        guard let section = reader.table("advanced", in: root, known: keys) else { return advanced }
        advanced.libvirtURI = reader.value(
            "libvirt_uri", in: section, expected: LibvirtURI.rule, LibvirtURI.normalised)
        advanced.domainType =
            reader.value(
                "domain_type", in: section, expected: "auto, kvm or qemu", MachineConfig.DomainType.init)
            ?? advanced.domainType
        advanced.machine =
            reader.value("machine", in: section, expected: "a QEMU machine type such as q35") { text in
                let isType = text.utf8.allSatisfy { byte in
                    byte.isASCIILowercase || byte.isASCIIDigit || "-._".utf8.contains(byte)
                }
                return isType && !text.isEmpty ? text : nil
            } ?? advanced.machine
        advanced.channel =
            reader.value("channel", in: section, expected: "auto, vsock or tcp", MachineConfig.Channel.init)
            ?? advanced.channel
        return advanced
    }
}
