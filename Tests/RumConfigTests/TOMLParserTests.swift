import TestSupport
import Testing

@testable import RumConfig

/// A document on one line, which two equal documents share: keys sorted, lines left out.
private func canonical(_ value: TOMLNode.Value) -> String {
    switch value {
    case .table(let table):
        let entries = table.entries.sorted { $0.key < $1.key }.map { "\($0): \(canonical($1.value))" }
        return "{" + entries.joined(separator: ", ") + "}"
    case .list(let list): return "[" + list.nodes.map { canonical($0.value) }.joined(separator: ", ") + "]"
    case .string(let text): return "'" + text.replacing("\n", with: "\\n") + "'"
    case .integer(let number): return "\(number)"
    case .boolean(let flag): return "\(flag)"
    case .other(let kind): return "<\(kind)>"
    }
}

@Suite("TOML")
struct TOMLParserTests {
    @Test(
        "Every form of TOML 1.0 is read",
        arguments: [
            ("", "{}"),
            ("# only a comment", "{}"),
            ("a = 1\r\nb = 2\r\n", "{a: 1, b: 2}"),
            ("a.b.c = 1\na.\"b\".d = 2", "{a: {b: {c: 1, d: 2}}}"),
            ("\"a.b\" = 1\n'c d' = 2\n1 = 3", "{1: 3, a.b: 1, c d: 2}"),
            ("[a]\n[a.b]\n[c.d]\n[c]\nx = 1", "{a: {b: {}}, c: {d: {}, x: 1}}"),
            ("[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 2", "{a: [{x: 1}, {b: {y: 2}}]}"),
            ("[a]\nb.c = 1\n[a.b.d]\n", "{a: {b: {c: 1, d: {}}}}"),
            ("[ a . b ] # comment\n", "{a: {b: {}}}"),
            ("a = [1, [2, \"x\"], { b = 3 }, ]", "{a: [1, [2, 'x'], {b: 3}]}"),
            ("a = [ # one\n 1, # two\n\n 2\n]", "{a: [1, 2]}"),
            ("a = {}", "{a: {}}"),
            ("a = 'C:\\x'\nb = \"\\t\\\"\\u00e9\\U0001F600\"", "{a: 'C:\\x', b: '\t\"é😀'}"),
            ("a = \"\"\"\nx\\\n   y\n\"\"\"", "{a: 'xy\\n'}"),
            ("a = '''x\r\ny'''", "{a: 'x\\ny'}"),
            ("a = \"\"\"\"x\"\"\"\"\"", "{a: '\"x\"\"'}"),
            ("a = +1_000\nb = -0\nc = 0xFF\nd = 0o17\ne = 0b11", "{a: 1000, b: 0, c: 255, d: 15, e: 3}"),
            ("a = true\nb = false", "{a: true, b: false}"),
            ("a = 1e3\nb = -inf", "{a: <a floating-point number>, b: <a floating-point number>}"),
            ("a = 2026-01-02\nb = 07:30:00", "{a: <a date or time>, b: <a date or time>}"),
        ])
    func valid(text: String, expected: String) throws {
        #expect(canonical(.table(try TOMLParser.parse(text))) == expected)
    }

    @Test(
        "Every offence is told with its place",
        arguments: [
            ("a", 1, 2, "expected = after the key, not the end of the file"),
            ("a = ", 1, 5, "expected a value, not the end of the file"),
            ("a = b", 1, 5, "b is no value; a text needs quotes"),
            ("a = 01", 1, 5, "01 is no value; a text needs quotes"),
            ("a = 99999999999999999999999", 1, 5, nil),
            ("a = 1 b = 2", 1, 7, "expected the end of the line, not 'b'"),
            ("é = 1", 1, 1, "expected a key, not 'é'"),
            ("\"é\" = é", 1, 7, "expected a value, not 'é'"),
            ("a = 1\na = 2", 2, 1, "a is defined already, on line 1"),
            ("[a]\n[a]", 2, 2, "a is defined already, on line 1"),
            ("[[a]]\n[a]", 2, 2, "a is defined already, on line 1"),
            ("[a]\n[[a]]", 2, 3, "a is defined already, on line 1"),
            ("a = []\n[[a]]", 2, 3, "a is defined already, on line 1"),
            ("a = 1\n[a.b]", 2, 2, "nothing can be added to a, which line 1 defines"),
            ("a = {}\na.b = 1", 2, 1, "nothing can be added to a, which line 1 defines"),
            ("[a.b]\n[a]\nb.c = 1", 3, 1, "nothing can be added to b, which line 1 defines"),
            ("[a]\nb.c = 1\n[a.b]", 3, 4, "b is defined already, on line 2"),
            ("[a", 1, 3, "expected ] to end the header, not the end of the file"),
            ("[[a]", 1, 4, "expected ]] to end the header, not ']'"),
            ("[]", 1, 2, "expected a key, not ']'"),
            ("a. = 1", 1, 4, "expected a key, not '='"),
            ("a = [1 2]", 1, 8, "expected , or ] after a list's element, not '2'"),
            ("a = {b = 1,}", 1, 12, "expected a key, not '}'"),
            ("a = \"x\nb = 1", 1, 7, "expected \" to end the text, not the end of the line"),
            ("a = \"\"\"x", 1, 9, "expected \"\"\" to end the text, not the end of the file"),
            ("a = \"\"\"x\"\"\"\"\"\"", 1, 14, "expected the end of the line, not '\"'"),
            ("a = \"\"\"x\\\r \n\"\"\"", 1, 9, nil),
            ("a = 1 # \r", 1, 9, nil),
            ("a = 1979-05-27 7:32:00", 1, 5, nil),
            ("a = \"\\x\"", 1, 6, "not an escape of TOML; write \\\\ for a backslash, or use single quotes"),
            ("a = \"\\ud800\"", 1, 6, "expected 4 hexadecimal digits of a Unicode scalar"),
            ("\"\"\"a\"\"\" = 1", 1, 1, "a key cannot span lines"),
            ("# \u{7f}", 1, 3, "expected text, not the control character 127"),
        ] as [(String, Int, Int, String?)])
    func invalid(text: String, line: Int, column: Int, message: String?) {
        let error = #expect(throws: TOMLSyntaxError.self) { try TOMLParser.parse(text) }
        #expect(error?.line == line)
        #expect(error?.column == column)
        if let message { #expect(error?.message == message) }
    }

    @Test("Nesting that would exhaust the stack is refused")
    func depth() {
        for text in [
            "a = " + String(repeating: "[", count: 100_000), String(repeating: "a.", count: 100_000),
        ] {
            #expect(throws: TOMLSyntaxError.self) { try TOMLParser.parse(text) }
        }
    }
}
