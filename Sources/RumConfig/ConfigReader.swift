internal import Linux
internal import Ports

/// Reads typed values out of a parsed document and collects every problem on the way.
struct ConfigReader {
    /// A table of the document, and where it stands.
    struct Section {
        /// Such as `ports[1]`; empty for the root.
        let path: String
        /// nil for the root.
        let line: Int?
        let entries: [String: TOMLNode]

        /// The full name of one of its keys.
        func name(of key: String) -> String { path.isEmpty ? key : "\(path).\(key)" }

        /// The line of one of its keys; its own when the key is missing.
        func line(of key: String) -> Int? { entries[key]?.line ?? line }
    }

    let file: String
    private(set) var problems: [ConfigProblem] = []

    init(file: String) { self.file = file }

    /// Notes a problem with `key` of `section`.
    mutating func fail(_ key: String, in section: Section, _ message: String) {
        fail(section.name(of: key), line: section.line(of: key), message)
    }

    private mutating func fail(_ name: String, line: Int?, _ message: String) {
        problems.append(ConfigProblem(file: file, line: line, key: name, message: message))
    }

    // MARK: - Tables

    /// Notes every key of `section` that is not among `known`, with the one that was probably meant.
    mutating func checkKeys(of section: Section, known: [String]) {
        for key in section.entries.keys.sorted() where !known.contains(key) {
            if let advice = OtherRum.advice(for: section.name(of: key)) {
                fail(key, in: section, advice)
                continue
            }
            let guess = Suggestion.closest(to: key, among: known).map { "did you mean \($0)?" }
            fail(key, in: section, "unknown key; \(guess ?? "expected \(Self.list(known))")")
        }
    }

    /// The table `key`; nil when it is absent or something else, which is noted.
    mutating func table(_ key: String, in section: Section, known: [String]) -> Section? {
        guard let node = section.entries[key] else { return nil }
        return table(node, named: section.name(of: key), known: known)
    }

    /// The list of tables `key`; empty when absent.
    mutating func tables(_ key: String, in section: Section, known: [String]) -> [Section] {
        guard let node = section.entries[key] else { return [] }
        let name = section.name(of: key)
        guard case .list(let list) = node.value else {
            fail(key, in: section, "expected a list of tables, each headed [[\(name)]], not \(node.shown)")
            return []
        }
        return list.nodes.enumerated().compactMap { table($1, named: "\(name)[\($0)]", known: known) }
    }

    private mutating func table(_ node: TOMLNode, named name: String, known: [String]) -> Section? {
        guard case .table(let table) = node.value else {
            fail(name, line: node.line, "expected a table with \(Self.list(known)), not \(node.shown)")
            return nil
        }
        let section = Section(path: name, line: node.line, entries: table.entries)
        checkKeys(of: section, known: known)
        return section
    }

    /// Notes that a key without default is missing.
    mutating func require(_ key: String, in section: Section, expected: String) {
        guard section.entries[key] == nil else { return }
        fail(key, in: section, "missing; expected \(expected)")
    }

    // MARK: - Values

    /// The text of `key`; nil when it is absent or something else, which is noted.
    mutating func string(_ key: String, in section: Section, expected: String) -> String? {
        guard let node = section.entries[key] else { return nil }
        if case .string(let text) = node.value { return text }
        fail(key, in: section, "expected \(expected), in quotes, not \(node.shown)")
        return nil
    }

    /// The text of `key` as `convert` reads it; what it cannot read is noted as not being `expected`.
    mutating func value<Value>(
        _ key: String, in section: Section, expected: String, _ convert: (String) -> Value?
    ) -> Value? {
        guard let text = string(key, in: section, expected: expected) else { return nil }
        if let value = convert(text) { return value }
        fail(key, in: section, "\(section.entries[key]?.shown ?? text) is not \(expected)")
        return nil
    }

    /// The value of `key` as messages show it.
    func shown(_ key: String, in section: Section) -> String { section.entries[key]?.shown ?? "" }

    /// The whole number of `key` within `bounds`, which are part of the message.
    mutating func integer(_ key: String, in section: Section, _ bounds: ClosedRange<Int>) -> Int? {
        guard let node = section.entries[key] else { return nil }
        return integer(node, named: section.name(of: key), bounds)
    }

    /// The truth of `key`; nil when it is absent or something else, which is noted.
    mutating func boolean(_ key: String, in section: Section) -> Bool? {
        guard let node = section.entries[key] else { return nil }
        switch node.value {
        case .boolean(let flag): return flag
        case .string("true"), .string("false"):
            fail(key, in: section, "expected true or false, without quotes")
        default: fail(key, in: section, "expected true or false, not \(node.shown)")
        }
        return nil
    }

    /// The numbers of the list `key` that are within `bounds`; nil when absent.
    mutating func integers(_ key: String, in section: Section, _ bounds: ClosedRange<Int>) -> [Int]? {
        list(key, in: section, of: "numbers")?.compactMap { integer($1, named: $0, bounds) }
    }

    /// The ports of `key`: a number, a text with a port or a range, or a list of them; empty when absent.
    mutating func portRanges(_ key: String, in section: Section, expected: String) -> [PortRange] {
        guard let node = section.entries[key] else { return [] }
        guard case .list(let list) = node.value else {
            return [portRange(node, named: section.name(of: key), expected: expected)].compactMap { $0 }
        }
        if list.nodes.isEmpty { fail(key, in: section, "expected \(expected), not an empty list") }
        let name = section.name(of: key)
        return list.nodes.enumerated().compactMap {
            portRange($1, named: "\(name)[\($0)]", expected: expected)
        }
    }

    private mutating func portRange(_ node: TOMLNode, named name: String, expected: String) -> PortRange? {
        let range: PortRange? =
            switch node.value {
            case .integer(let number):
                PortNumber(exactly: number).flatMap { PortRange($0, $0) }
            case .string(let text): PortRange(text: text)
            default: nil
            }
        if range == nil { fail(name, line: node.line, "\(node.shown) is not \(expected)") }
        return range
    }

    /// The texts of the list `key` that satisfy `isValid`; nil when absent.
    mutating func strings(
        _ key: String, in section: Section, expected: String, _ isValid: (String) -> Bool
    ) -> [String]? {
        list(key, in: section, of: "texts")?.compactMap { name, node in
            if case .string(let text) = node.value, isValid(text) { return text }
            fail(name, line: node.line, "expected \(expected), not \(node.shown)")
            return nil
        }
    }

    private mutating func integer(_ node: TOMLNode, named name: String, _ bounds: ClosedRange<Int>) -> Int? {
        let expected = "a whole number from \(bounds.lowerBound) to \(bounds.upperBound)"
        switch node.value {
        case .integer(let number) where bounds.contains(number): return number
        case .string(let text) where Int(text) != nil:
            fail(name, line: node.line, "expected \(expected), without quotes")
        default:
            fail(name, line: node.line, "expected \(expected), not \(node.shown)")
        }
        return nil
    }

    private mutating func list(
        _ key: String, in section: Section, of elements: String
    ) -> [(String, TOMLNode)]? {
        guard let node = section.entries[key] else { return nil }
        guard case .list(let list) = node.value else {
            fail(key, in: section, "expected a list of \(elements), not \(node.shown)")
            return nil
        }
        let name = section.name(of: key)
        return list.nodes.enumerated().map { ("\(name)[\($0)]", $1) }
    }

    private static func list(_ words: [String]) -> String {
        words.count < 2
            ? words.joined() : words.dropLast().joined(separator: ", ") + " or " + (words.last ?? "")
    }
}
