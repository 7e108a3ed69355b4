import Linux
import Testing

@Suite("Text on terminals")
struct PrintableTextTests {
    @Test(
        "What a terminal would obey, hide or turn round is written out",
        arguments: [
            ("nginx", "nginx"), ("größe 日本 →", "größe 日本 →"),
            ("\u{1b}]0;title\u{7}", "\\u{1b}]0;title\\u{7}"), ("\u{9b}31m", "\\u{9b}31m"),
            ("a\nb\tc\r", "a\\u{a}b\\u{9}c\\u{d}"), ("\u{7f}", "\\u{7f}"), ("\u{0}", "\\u{0}"),
            ("\u{202e}txt.exe\u{2066}", "\\u{202e}txt.exe\\u{2066}"),
            ("a\u{200b}b\u{feff}", "a\\u{200b}b\\u{feff}"),
            ("\u{2028}\u{2029}\u{85}", "\\u{2028}\\u{2029}\\u{85}"), ("\u{61c}\u{ad}", "\\u{61c}\\u{ad}"),
            ("\u{3164}\u{e0041}", "\\u{3164}\\u{e0041}"), ("\u{e000}", "\\u{e000}"),
        ])
    func replaced(text: String, expected: String) {
        #expect(text.printable() == expected)
        #expect(text.printable().printable() == expected)
    }

    @Test("Long text is cut, and says so")
    func length() {
        #expect(String(repeating: "x", count: 300).printable(limit: 10) == "xxxxxxxxxx…")
        #expect(String(repeating: "x", count: 10).printable(limit: 10) == "xxxxxxxxxx")
        #expect(String(repeating: "e\u{301}", count: 1_000_000).printable().unicodeScalars.count == 201)
    }

    @Test("A cut leaves so many scalars at the most, of one character too")
    func cut() {
        #expect("größe".cut(to: 5) == "größe")
        #expect("größer".cut(to: 5) == "größe")
        #expect(
            ("e" + String(repeating: "\u{301}", count: 1000)).cut(to: 5) == "e\u{301}\u{301}\u{301}\u{301}")
    }

    @Test("Whatever the bytes, nothing but printable characters comes out")
    func anything() {
        for value in UInt32(0)...0x10ffff {
            guard let scalar = Unicode.Scalar(value) else { continue }
            let shown = String(Character(scalar)).printable()
            #expect(shown.unicodeScalars.allSatisfy(\.isPrintable) && !shown.isEmpty)
        }
    }
}
