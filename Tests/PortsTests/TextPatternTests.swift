import Ports
import Testing

@Suite("Patterns of rules")
struct TextPatternTests {
    @Test(
        "A glob is about the whole text",
        arguments: [
            ("node", "node", true), ("node", "node2", false), ("node", "anode", false),
            ("node*", "node2", true), ("*", "", true), ("*vite*", "/usr/bin/vite --port 1", true),
            ("n?de", "node", true), ("n?de", "nde", false), ("?", "ä", true),
            ("python3.[0-9]*", "python3.11", true), ("python3.[0-9]*", "python3x11", false),
            ("[!a-c]x", "dx", true), ("[!a-c]x", "bx", false), ("[]]", "]", true), ("[a-]", "-", true),
            ("a\\*", "a*", true), ("a\\*", "ab", false), ("a.b", "axb", false), ("/", "/", true),
            ("//", "//", true), ("/bin*", "/bin/sh", true), ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
        ])
    func globs(pattern: String, text: String, matches: Bool) throws {
        #expect(try TextPattern(text: pattern).matches(text) == matches)
    }

    @Test(
        "A regular expression is found anywhere",
        arguments: [
            ("/vite/", "node vite.js", true), ("/^vite/", "node vite.js", false),
            ("/js$/", "node vite.js", true),
            ("/js$/", "js ", false), ("/^$/", "", true), ("/^$/", "a", false), ("/a|b|c/", "xxc", true),
            ("/^(ab)+$/", "ababab", true), ("/^(ab)+$/", "aba", false), ("/^(?:a|bc){2,3}$/", "abca", true),
            ("/^(?:a|bc){2,3}$/", "a", false), ("/^a{3}$/", "aaa", true), ("/^a{3}$/", "aaaa", false),
            ("/^a{2,}$/", "aaaaa", true), ("/^a?$/", "", true), ("/--port[= ]\\d+/", "x --port=5173", true),
            ("/\\bx/", "x", nil), ("/[^\\d\\s]/", "1 2", false), ("/\\S/", "  a", true),
            ("/\\./", "ab", false),
            ("/(a*)*$/", "aaaa", true), ("/(a*)*b/", "aaaa", false), ("/()/", "", true),
            ("/a.c/", "a\nc", true),
            ("/a+?b/", "aab", true), ("/(|a)b/", "b", true), ("/[\\w-]+/", "-", true),
            // Repeated 100 ^ 15 times, and nothing all the same.
            (
                "/x" + String(repeating: "(", count: 15) + String(repeating: "){100}", count: 15) + "y/",
                "xy", true
            ),

        ] as [(String, String, Bool?)])
    func expressions(pattern: String, text: String, matches: Bool?) throws {
        guard let matches else {
            #expect(throws: TextPattern.Problem.self) { try TextPattern(text: pattern) }
            return
        }
        #expect(try TextPattern(text: pattern).matches(text) == matches)
    }

    @Test(
        "What is no pattern is told",
        arguments: [
            ("", "expected 1 to 200 characters"),
            (String(repeating: "a", count: 201), "expected 1 to 200 characters"),
            ("[a", "a [ without its ]"), ("[b-a]", "b-a is no range"), ("a\\", "a \\ with nothing after it"),
            ("/(a/", "a ( without its )"), ("/a)/", "a ) without its ("),
            ("/*a/", "nothing to repeat before *"),
            ("/a**/", "nothing to repeat before *"),
            ("/a{2/", "expected {m}, {m,} or {m,n} with numbers up to 100"),
            ("/a{x}/", "expected {m}, {m,} or {m,n} with numbers up to 100"),
            ("/a{101}/", "expected {m}, {m,} or {m,n} with numbers up to 100"),
            ("/a{3,2}/", "expected {m,n} with m <= n, both up to 100"),
            ("/(?=a)/", "(? is not supported, but for (?:"), ("/\\1/", "\\1 is not supported"),
            ("/((a{90}){90}){90}/", "it repeats too much"),
            ("/" + String(repeating: "(", count: 50) + "/", "too many ( within each other"),
        ])
    func problems(pattern: String, message: String) {
        #expect(throws: TextPattern.Problem(message: message)) { try TextPattern(text: pattern) }
    }

    @Test("No text makes a pattern go back and forth", .timeLimit(.minutes(1)))
    func linear() throws {
        let pattern = try TextPattern(text: "/(a|a)*(a|a)*(a|a)*(a|a)*b$/")
        #expect(!pattern.matches(String(repeating: "a", count: 2000)))
    }
}
