import Foundation
import Testing

@testable import RumConfig

/// The cases of the toml-test suite (github.com/toml-lang/toml-test, d168c2a) for TOML 1.0.
@Suite("Conformance to TOML 1.0")
struct TOMLConformanceTests {
    private struct Case: Decodable {
        let name: String
        let toml: Data
        /// nil for a document that must be refused.
        let expected: Expected?
    }

    /// A value as the suite writes it: leaves are objects with a type and a text.
    private indirect enum Expected: Decodable {
        case table([String: Expected])
        case list([Expected])
        case leaf(type: String, value: String)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let list = try? container.decode([Expected].self) {
                self = .list(list)
            } else if let leaf = try? container.decode([String: String].self),
                Set(leaf.keys) == ["type", "value"]
            {
                self = .leaf(type: leaf["type"] ?? "", value: leaf["value"] ?? "")
            } else {
                self = .table(try container.decode([String: Expected].self))
            }
        }

        /// Whether the parser's value is this one. Of floating-point numbers, dates and times it keeps only the kind.
        func matches(_ value: TOMLNode.Value) -> Bool {
            switch (self, value) {
            case (.table(let wanted), .table(let table)):
                Set(wanted.keys) == Set(table.entries.keys)
                    && wanted.allSatisfy { key, value in
                        table.entries[key].map { value.matches($0.value) } == true
                    }
            case (.list(let wanted), .list(let list)):
                wanted.count == list.nodes.count
                    && zip(wanted, list.nodes).allSatisfy { $0.matches($1.value) }
            case (.leaf("string", let text), .string(let string)): Array(text.utf8) == Array(string.utf8)
            case (.leaf("integer", let text), .integer(let number)): text == "\(number)"
            case (.leaf("bool", let text), .boolean(let flag)): text == "\(flag)"
            case (.leaf("float", _), .other(let kind)): kind == "a floating-point number"
            case (.leaf("datetime", _), .other(let kind)), (.leaf("datetime-local", _), .other(let kind)),
                (.leaf("date-local", _), .other(let kind)), (.leaf("time-local", _), .other(let kind)):
                kind == "a date or time"
            default: false
            }
        }
    }

    private static func cases() throws -> [Case] {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("fixtures/toml-test/toml-1.0.jsonl")
        return try Data(contentsOf: file).split(separator: UInt8(ascii: "\n")).map {
            try JSONDecoder().decode(Case.self, from: $0)
        }
    }

    /// nil for what is refused; text that is no UTF-8 never comes to the parser.
    private static func parse(_ data: Data) -> TOMLTable? {
        String(validating: data, as: UTF8.self).flatMap { try? TOMLParser.parse($0) }
    }

    @Test("Every valid document is read with its values, and every invalid one is refused")
    func suite() throws {
        let cases = try Self.cases()
        #expect(cases.count > 600)
        for sample in cases {
            let table = Self.parse(sample.toml)
            if let expected = sample.expected {
                #expect(table.map { expected.matches(.table($0)) } == true, "\(sample.name)")
            } else {
                #expect(table == nil, "\(sample.name)")
            }
        }
    }
}
