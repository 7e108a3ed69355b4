/// What a text of the guest is compared with: a glob for the whole text, or a regular expression between slashes for a
/// part of it.
///
/// Both become an automaton whose states are followed all at once (Thompson), so a text takes at most the product of its
/// length and the pattern's, whoever wrote them.
package struct TextPattern: Hashable, Sendable, CustomStringConvertible {
    /// Why a text is no pattern.
    package struct Problem: Error, Hashable, Sendable {
        package let message: String

        package init(message: String) { self.message = message }
    }

    /// In characters.
    package static let longestText = 200

    /// As it was written.
    package let text: String
    private let automaton: PatternAutomaton

    /// Reads `/regular expression/`, or a glob with `*`, `?` and `[...]`.
    package init(text: String) throws(Problem) {
        guard !text.isEmpty, text.unicodeScalars.count <= Self.longestText else {
            throw Problem(message: "expected 1 to \(Self.longestText) characters")
        }
        self.text = text
        let isExpression = text.count > 2 && text.hasPrefix("/") && text.hasSuffix("/")
        var parser = PatternParser(isExpression ? String(text.dropFirst().dropLast()) : text)
        automaton = try PatternAutomaton(isExpression ? parser.expression() : parser.glob())
    }

    package func matches(_ text: String) -> Bool { automaton.matches(text) }

    package static func == (left: TextPattern, right: TextPattern) -> Bool { left.text == right.text }

    package func hash(into hasher: inout Hasher) { hasher.combine(text) }

    package var description: String { text }
}
