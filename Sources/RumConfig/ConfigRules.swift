internal import Linux
internal import Ports

/// Reads `[[auto_ports.rule]]`: what becomes of which of the guest's ports.
enum ConfigRules {
    private typealias Section = ConfigReader.Section

    private static let keys = [
        "port", "process", "command", "address", "container", "action", "label", "host_port", "on_conflict",
        "on_open", "on_open_when", "protocol", "hold", "proxy_protocol",
    ]
    /// What has no meaning for a port that is not forwarded.
    private static let forwardKeys = [
        "host_port", "on_conflict", "on_open", "on_open_when", "protocol", "hold", "proxy_protocol",
    ]
    private static let opener = "xdg-open {url}"
    private static let portRule = "a port, a range such as \"5173-5180\", or a list of them"
    private static let labelRule =
        "a name of up to \(ConfigLimits.label) lower-case letters, digits and '-', with a letter, and no '-' at an end"

    /// - Parameters:
    ///   - autoPorts: the section `[auto_ports]`.
    ///   - range: that of the section, where it is valid.
    ///   - fixed: `[[ports]]`, whose host ports are taken.
    static func parse(
        _ autoPorts: ConfigReader.Section, in range: PortRange?, beside fixed: [StaticPort],
        _ reader: inout ConfigReader
    ) -> [PortRule] {
        let sections = reader.tables("rule", in: autoPorts, known: keys)
        if sections.count > ConfigLimits.rules {
            reader.fail("rule", in: autoPorts, "expected at most \(ConfigLimits.rules) of them")
        }
        return sections.map { section in
            var rule = PortRule(match: match(section, in: range, &reader))
            rule.line = section.line
            rule.action =
                reader.value("action", in: section, expected: "forward, ignore or ask", PortRule.Action.init)
                ?? rule.action
            rule.label = reader.value("label", in: section, expected: labelRule, label)
            rule.onConflict =
                reader.value(
                    "on_conflict", in: section, expected: "wait, next or fail", PortRule.ConflictChoice.init)
                ?? rule.onConflict
            rule.scheme =
                reader.value("protocol", in: section, expected: "http or https", PortRule.URLScheme.init)
                ?? rule.scheme
            rule.settings.hold = reader.value(
                "hold", in: section, expected: "a time such as \"2s\" or \"500ms\", up to 60s", duration)
            rule.settings.proxyProtocol =
                reader.boolean("proxy_protocol", in: section) ?? rule.settings.proxyProtocol
            rule.opensPage = opening(section, &reader)
            rule.firstHostPort = hostPort(section, rule.match.ports, beside: fixed, &reader)
            if rule.action == .ignore {
                for key in forwardKeys where section.entries[key] != nil {
                    reader.fail(key, in: section, "means nothing where action is ignore")
                }
            }
            return rule
        }
    }

    // MARK: - What matches

    private static func match(
        _ section: Section, in range: PortRange?, _ reader: inout ConfigReader
    ) -> PortMatch {
        var match = PortMatch()
        match.ports = reader.portRanges("port", in: section, expected: portRule)
        if let range {
            for ports in match.ports where ports.upper < range.lower || range.upper < ports.lower {
                reader.fail(
                    "port", in: section,
                    "\(ports.shown) lies outside auto_ports.range \(range), so this rule never matches it")
            }
        }
        match.process = pattern("process", in: section, &reader)
        match.command = pattern("command", in: section, &reader)
        match.container = pattern("container", in: section, &reader)
        match.scope =
            reader.value(
                "address", in: section, expected: "any, loopback or wildcard", PortMatch.Scope.init)
            ?? match.scope
        return match
    }

    private static func pattern(
        _ key: String, in section: Section, _ reader: inout ConfigReader
    ) -> TextPattern? {
        let expected = "a glob such as \"node*\", or a regular expression between slashes"
        guard let text = reader.string(key, in: section, expected: expected) else { return nil }
        do throws(TextPattern.Problem) {
            return try TextPattern(text: text)
        } catch {
            reader.fail(
                key, in: section, "\(reader.shown(key, in: section)) is not \(expected): \(error.message)")
            return nil
        }
    }

    // MARK: - What becomes of it

    /// `500ms` or `2s`.
    private static func duration(_ text: String) -> Duration? {
        let units: [(String, Duration)] = [("ms", .milliseconds(1)), ("s", .seconds(1))]
        guard let (suffix, unit) = units.first(where: { text.hasSuffix($0.0) }),
            let count = UInt32(text.dropLast(suffix.count)), count > 0,
            unit * count <= ForwardSettings.longestHold
        else { return nil }
        return unit * count
    }

    private static func label(_ text: String) -> String? {
        let isMade = text.utf8.allSatisfy { byte in
            byte.isASCIILowercase || byte.isASCIIDigit || byte == UInt8(ascii: "-")
        }
        // A number would be taken for a port where labels are names.
        let hasLetter = text.utf8.contains(where: \.isASCIILowercase)
        let isShort = text.utf8.count <= ConfigLimits.label
        return isMade && hasLetter && isShort && !text.hasPrefix("-") && !text.hasSuffix("-") ? text : nil
    }

    /// A program that rum.toml names would be code on the host, and rum.toml comes with a repository.
    private static func opening(_ section: Section, _ reader: inout ConfigReader) -> PortRule.PageOpening? {
        let isOpening =
            reader.value(
                "on_open", in: section,
                expected: "\"\(opener)\"; a rum.toml cannot name another program of the host",
                { $0 == opener ? true : nil })
        let times = reader.value(
            "on_open_when", in: section, expected: "once or always", PortRule.PageOpening.init)
        if times != nil, section.entries["on_open"] == nil {
            reader.fail("on_open_when", in: section, "means nothing without on_open = \"\(opener)\"")
        }
        return isOpening == nil ? nil : times ?? .once
    }

    private static func hostPort(
        _ section: Section, _ ports: [PortRange], beside fixed: [StaticPort], _ reader: inout ConfigReader
    ) -> PortNumber? {
        guard let number = reader.integer("host_port", in: section, 1...65535),
            let first = PortNumber(exactly: number)
        else { return nil }
        guard ports.count == 1, let range = ports.first else {
            reader.fail(
                "host_port", in: section,
                "goes with one port or one range in port; this rule has \(ports.isEmpty ? "none" : "several")"
            )
            return nil
        }
        let last = number + Int(range.upper.rawValue) - Int(range.lower.rawValue)
        guard let last = PortNumber(exactly: last), let host = PortRange(first, last)
        else {
            reader.fail(
                "host_port", in: section,
                "port \(range.shown) from \(number) on would go up to \(last); expected 65535 at the most")
            return nil
        }
        if let port = fixed.first(where: { host.contains($0.host) }) {
            reader.fail(
                "host_port", in: section, "host port \(port.host) is taken by [[ports]]; expected another one"
            )
        }
        return first
    }
}

extension PortRange {
    /// As a user writes it.
    fileprivate var shown: String { lower == upper ? "\(lower)" : "\(self)" }
}
