import Foundation
import Linux
import Ports
import RumConfig

/// What a devcontainer.json says about ports, as rules of a rum.toml (containers.dev, the JSON reference).
struct DevContainer: Equatable, Sendable {
    struct Problem: Error {
        let message: String
    }

    /// One `[[auto_ports.rule]]`: lines of TOML.
    struct Rule: Equatable, Sendable {
        /// For the comment in front; empty for none.
        var title = ""
        /// The ports that it is about; nil where it is about others.
        var ports: PortRange?
        var lines: [String]

        var isExact: Bool { ports.map { $0.lower == $0.upper } ?? false }
        var ignores: Bool { lines.contains(DevContainer.ignoring) }
    }

    /// What `appPort` says.
    private struct Published {
        /// On the host's port of the same number.
        var plain: [PortNumber] = []
        /// The host port of each guest port that has another one.
        var moved: [PortNumber: PortNumber] = [:]
        var leftOut: [String] = []
    }

    private(set) var rules: [Rule] = []
    /// Those below 1024, which would make the range of automatic ports one of the system's own ports.
    private(set) var fixedPorts: [PortNumber] = []
    /// From the lowest to the highest port that a rule names; nil when none does.
    private(set) var range: PortRange?
    /// What has no counterpart, a phrase each.
    private(set) var leftOut: [String] = []

    private static let portKeys = ["forwardPorts", "appPort", "portsAttributes", "otherPortsAttributes"]
    private static let attributeKeys = ["label", "protocol", "onAutoForward", "requireLocalPort"]
    private static let ignoring = "action = \"ignore\""
    private static let lowest = PortNumber(1024) ?? .lowest

    /// Reads JSON with comments.
    init(text: String) throws(Problem) {
        let decoder = JSONDecoder()
        decoder.allowsJSON5 = true
        let members: [String: JSONValue]
        do {
            guard case .object(let object) = try decoder.decode(JSONValue.self, from: Data(text.utf8)) else {
                throw Problem(message: "expected an object in braces")
            }
            members = object
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(message: "it is no JSON, with or without comments")
        }
        let forwarded = forwardPorts(members["forwardPorts"])
        addFixed(forwarded)
        let published = appPorts(members["appPort"], beside: forwarded)
        let always = forwarded + published.plain
        for (key, attributes) in Self.sorted(members["portsAttributes"]) {
            add(key, attributes, always, published.moved)
        }
        leftOut += published.leftOut
        let (last, unnamed) = otherLines(members["otherPortsAttributes"])
        addMoved(published.moved, unnamed)
        addRemaining(always, unnamed)
        cutRules(to: ConfigLimits.rules - (last.isEmpty ? 0 : 1))
        if !last.isEmpty { rules.append(Rule(title: "All other ports.", lines: last)) }
        let others = members.keys.filter { !Self.portKeys.contains($0) && $0 != "$schema" && $0 != "name" }
        if !others.isEmpty {
            leftOut.append("what is not about ports: " + others.sorted().joined(separator: ", "))
        }
    }

    // MARK: Ports

    private mutating func forwardPorts(_ value: JSONValue?) -> [PortNumber] {
        guard case .array(let values)? = value else { return [] }
        return values.compactMap { value in
            if let port = value.port { return port }
            leftOut.append("forwardPorts \(value.shown), which is not a port of the machine itself")
            return nil
        }
    }

    /// Those that are forwarded in any case and have no rule of their own, with the attributes of all other ports. They come
    /// before what ignores ports; a range or text before that gives them its attributes.
    private mutating func addRemaining(_ ports: [PortNumber], _ lines: [String]) {
        var high: [PortNumber] = []
        for port in ports where port >= Self.lowest && !high.contains(port) && !hasRule(port) {
            high.append(port)
        }
        for port in high { widen(to: PortRange(port, port)) }
        guard !high.isEmpty else { return }
        let list = high.map(\.description).joined(separator: ", ")
        rules.insert(
            Rule(lines: ["port = " + (high.count == 1 ? list : "[\(list)]")] + lines),
            at: rules.firstIndex { !$0.isExact && $0.ignores } ?? rules.endIndex)
    }

    /// Those with another host port, which no wider rule may take from them: it would be lost.
    private mutating func addMoved(_ ports: [PortNumber: PortNumber], _ lines: [String]) {
        for (guest, host) in ports.sorted(by: { $0.key < $1.key }) where !hasRule(guest) {
            widen(to: PortRange(guest, guest))
            let attributes = rules.first { $0.ports?.contains(guest) == true }?.lines.dropFirst()
            let kept = attributes.map { $0.filter { $0 != Self.ignoring } } ?? lines
            rules.insert(
                Rule(
                    ports: PortRange(guest, guest),
                    lines: ["port = \(guest)"] + kept + ["host_port = \(host)"]),
                at: rules.firstIndex { !$0.isExact } ?? rules.endIndex)
        }
    }

    private func hasRule(_ port: PortNumber) -> Bool {
        rules.contains { $0.isExact && $0.ports?.contains(port) == true }
    }

    /// The last rule, and what of it is for ports that are forwarded in any case.
    private mutating func otherLines(_ value: JSONValue?) -> (last: [String], forwarded: [String]) {
        guard case .object(var attributes)? = value else { return ([], []) }
        let isIgnoring = attributes["onAutoForward"]?.text == "ignore"
        if isIgnoring { attributes["onAutoForward"] = nil }
        let lines = lines(of: attributes, named: "otherPortsAttributes")
        return (isIgnoring ? [Self.ignoring] : lines, lines)
    }

    private mutating func cutRules(to most: Int) {
        guard rules.count > most else { return }
        leftOut.append(
            "\(rules.count - most) of portsAttributes and appPort, since a rum.toml has \(ConfigLimits.rules) rules at most"
        )
        rules.removeSubrange(most...)
    }

    private mutating func addFixed(_ ports: [PortNumber]) {
        for port in ports where port < Self.lowest && !fixedPorts.contains(port) { fixedPorts.append(port) }
    }

    /// `8080`, `"8080"` or `"8080:80"`, or a list of them.
    private mutating func appPorts(_ value: JSONValue?, beside forwarded: [PortNumber]) -> Published {
        var published = Published()
        guard let value else { return published }
        var values = [value]
        if case .array(let list) = value { values = list }
        // Each of them has its own number on the host, which no other can ask for.
        published.plain = values.compactMap(\.port)
        addFixed(published.plain)
        for value in values where value.port == nil {
            guard case .string(let text) = value, let pair = Self.pair(text), pair.guest >= Self.lowest else {
                published.leftOut.append("appPort \(value.shown)")
                continue
            }
            if fixedPorts.contains(pair.host) {
                published.leftOut.append(
                    "appPort \(value.shown), since host port \(pair.host) leads to port \(pair.host)")
            } else if (forwarded + published.plain).contains(pair.guest)
                || published.moved[pair.guest] != nil
            {
                published.leftOut.append(
                    "appPort \(value.shown), since port \(pair.guest) has a host port already")
            } else {
                published.moved[pair.guest] = pair.host
            }
        }
        return published
    }

    private static func pair(_ text: String) -> (host: PortNumber, guest: PortNumber)? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let host = PortNumber(text: parts[0]), let guest = PortNumber(text: parts[1])
        else { return nil }
        return (host, guest)
    }

    private mutating func widen(to ports: PortRange?) {
        guard let ports else { return }
        range = range.flatMap { PortRange(min($0.lower, ports.lower), max($0.upper, ports.upper)) } ?? ports
    }

    // MARK: Attributes

    /// Single ports first, then ranges, then texts for command lines: the members of an object have no order, and what
    /// is more exact comes first there too.
    private static func sorted(_ value: JSONValue?) -> [(key: String, value: [String: JSONValue])] {
        guard case .object(let members)? = value else { return [] }
        func rank(_ key: String) -> (Int, Int, String) {
            guard let range = PortRange(text: key) else { return (2, 0, key) }
            let width = Int(range.upper.rawValue) - Int(range.lower.rawValue)
            return (width == 0 ? 0 : 1, width, String(repeating: "0", count: 11 - min(key.count, 11)) + key)
        }
        return members.sorted { rank($0.key) < rank($1.key) }.compactMap { key, value in
            guard case .object(let attributes) = value else { return nil }
            return (key, attributes)
        }
    }

    private mutating func add(
        _ key: String, _ attributes: [String: JSONValue], _ always: [PortNumber],
        _ moved: [PortNumber: PortNumber]
    ) {
        let name = "portsAttributes \"\(key.printable(limit: 60))\""
        guard !key.isEmpty else {
            leftOut.append("\(name), which names no port")
            return
        }
        let match: String
        var attributes = attributes
        var hostPort: PortNumber?
        if let range = PortRange(text: key) {
            guard range.lower >= Self.lowest else {
                leftOut.append("\(name), a port below 1024")
                return
            }
            let isSingle = range.lower == range.upper
            match = "port = " + (isSingle ? "\(range.lower)" : Self.quoted("\(range)"))
            widen(to: range)
            if isSingle {
                hostPort = moved[range.lower]
                // What is forwarded in any case is not ignored when it is found.
                if always.contains(range.lower) || hostPort != nil,
                    attributes["onAutoForward"]?.text == "ignore"
                {
                    attributes["onAutoForward"] = nil
                }
            }
        } else if !key.contains("/"), key.split(separator: ":").last.flatMap({ PortNumber(text: $0) }) != nil
        {
            leftOut.append("\(name), which is not a port of the machine itself")
            return
        } else {
            do throws(TextPattern.Problem) {
                match = "command = " + Self.quoted(try TextPattern(text: "/\(key)/").text)
            } catch {
                leftOut.append("\(name), since \(error.message)")
                return
            }
        }
        let lines = lines(of: attributes, named: name) + (hostPort.map { ["host_port = \($0)"] } ?? [])
        rules.append(
            Rule(
                title: attributes["label"]?.text ?? "", ports: PortRange(text: key), lines: [match] + lines))
    }

    private mutating func lines(of attributes: [String: JSONValue], named name: String) -> [String] {
        var lines: [String] = []
        let action = attributes["onAutoForward"]?.text
        if action == "ignore" { lines.append(Self.ignoring) }
        if let text = attributes["label"]?.text {
            if let label = Self.label(text) {
                lines.append("label = \(Self.quoted(label))")
            } else {
                leftOut.append("the label of \(name), which has no letter from a to z")
            }
        }
        for key in attributes.keys.sorted() where !Self.attributeKeys.contains(key) {
            leftOut.append("\(key.printable(limit: 60)) of \(name)")
        }
        guard action != "ignore" else { return lines }
        switch attributes["protocol"]?.text {
        case "https": lines.append("protocol = \"https\"")
        case "http", nil: break
        default: leftOut.append("protocol of \(name)")
        }
        // It is true that asks for the same number; false, the default there, takes another one.
        if attributes["requireLocalPort"] == .bool(false) { lines.append("on_conflict = \"next\"") }
        switch action {
        case "openBrowser": lines += ["on_open = \"xdg-open {url}\"", "on_open_when = \"always\""]
        case "openBrowserOnce": lines.append("on_open = \"xdg-open {url}\"")
        case "notify", nil: break
        case .some(let other): leftOut.append("onAutoForward \(other.printable(limit: 60)) of \(name)")
        }
        return lines
    }

    /// A label that can be a part of a host name.
    static func label(_ text: String) -> String? {
        let words = text.lowercased().split { !($0.isASCII && ($0.isLetter || $0.isNumber)) }
        let label = words.joined(separator: "-").prefix(63)
        guard label.contains(where: \.isLetter) else { return nil }
        return String(label.last == "-" ? label.dropLast() : label)
    }

    private static func quoted(_ text: String) -> String { InitAnswers.quoted(text) }
}

/// Any JSON.
enum JSONValue: Decodable, Equatable, Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object([String: JSONValue])

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            self = .null
        } else if let value = try? container.decode(Bool.self) {
            self = .bool(value)
        } else if let value = try? container.decode(Double.self) {
            self = .number(value)
        } else if let value = try? container.decode(String.self) {
            self = .string(value)
        } else if let value = try? container.decode([JSONValue].self) {
            self = .array(value)
        } else {
            self = .object(try container.decode([String: JSONValue].self))
        }
    }

    var text: String? {
        if case .string(let text) = self { return text }
        return nil
    }

    /// A number, or a text that is one.
    var port: PortNumber? {
        switch self {
        case .number(let number): UInt16(exactly: number).flatMap(PortNumber.init)
        case .string(let text): PortNumber(text: text)
        default: nil
        }
    }

    /// For a sentence.
    var shown: String {
        switch self {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .number(let number): Int(exactly: number).map { "\($0)" } ?? "\(number)"
        case .string(let text): "\"\(text.printable(limit: 60))\""
        case .array: "[...]"
        case .object: "{...}"
        }
    }
}
