import Foundation
import Linux
import Testing

@testable import CommandMain

@Suite("JSON on a terminal")
struct JSONLineTests {
    @Test("Nothing in it moves the cursor, colours, hides or reorders, and a reader gets the text as it was")
    func harmless() throws {
        let names = ["\u{1b}[2J\u{9b}31m", "\u{202e}\u{7f}\u{e0041}", "é\\\"/\n"]
        let line = names.jsonLine
        let isShown = line.unicodeScalars.allSatisfy(\.isPrintable)
        #expect(isShown)
        #expect(try JSONDecoder().decode([String].self, from: Data(line.utf8)) == names)
    }

    @Test("Keys are sorted, and slashes stand as they are")
    func form() {
        #expect(["b": "/x", "a": "y"].jsonLine == #"{"a":"y","b":"/x"}"#)
    }
}
