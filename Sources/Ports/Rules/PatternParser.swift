internal import Linux

/// Reads globs, as sh(1) has them, and regular expressions: `.`, `[...]`, `\d \w \s`, `( )`, `|`, `* + ? {m,n}`, `^` and `$`.
struct PatternParser {
    typealias Problem = TextPattern.Problem

    /// How deep parentheses may be nested, so that reading can't exhaust the stack.
    private static let deepest = 20
    /// The highest number in braces.
    private static let mostRepeated = 100

    private var rest: Substring.UnicodeScalarView
    private var depth = 0

    init(_ text: String) { rest = text[...].unicodeScalars }

    // MARK: - Globs

    /// The whole text as a glob.
    mutating func glob() throws(Problem) -> PatternNode {
        var nodes: [PatternNode] = []
        while let scalar = rest.popFirst() {
            switch scalar {
            case "*": nodes.append(.anything)
            case "?": nodes.append(.one(.all))
            case "[": nodes.append(.one(try set()))
            case "\\": nodes.append(Self.literal(try escaped()))
            default: nodes.append(Self.literal(scalar))
            }
        }
        return .sequence(nodes)
    }

    // MARK: - Regular expressions

    /// The whole text as an expression that is found anywhere.
    mutating func expression() throws(Problem) -> PatternNode {
        let node = try choice()
        guard rest.isEmpty else { throw Problem(message: "a ) without its (") }
        return .sequence([.anything, node, .anything])
    }

    private mutating func choice() throws(Problem) -> PatternNode {
        var choices: [PatternNode] = []
        var sequence: [PatternNode] = []
        while let next = rest.first, next != ")" {
            rest.removeFirst()
            if next == "|" {
                choices.append(.sequence(sequence))
                sequence = []
            } else {
                sequence.append(try repeated(try atom(next)))
            }
        }
        return .choice(choices + [.sequence(sequence)])
    }

    private mutating func atom(_ scalar: Unicode.Scalar) throws(Problem) -> PatternNode {
        switch scalar {
        case ".": return .one(.all)
        case "^": return .start
        case "$": return .end
        case "[": return .one(try set())
        case "\\": return try escape()
        case "(": return try group()
        case "*", "+", "?", "{": throw Problem(message: "nothing to repeat before \(scalar)")
        default: return Self.literal(scalar)
        }
    }

    private mutating func group() throws(Problem) -> PatternNode {
        depth += 1
        defer { depth -= 1 }
        guard depth <= Self.deepest else { throw Problem(message: "too many ( within each other") }
        if rest.first == "?" {
            guard rest.starts(with: "?:".unicodeScalars) else {
                throw Problem(message: "(? is not supported, but for (?:")
            }
            rest.removeFirst(2)
        }
        let node = try choice()
        guard rest.popFirst() == ")" else { throw Problem(message: "a ( without its )") }
        return node
    }

    private mutating func repeated(_ node: PatternNode) throws(Problem) -> PatternNode {
        guard let next = rest.first, "*+?{".unicodeScalars.contains(next) else { return node }
        rest.removeFirst()
        let result: PatternNode
        switch next {
        case "*": result = .repeated(node, least: 0, most: nil)
        case "+": result = .repeated(node, least: 1, most: nil)
        case "?": result = .repeated(node, least: 0, most: 1)
        default: result = try counted(node)
        }
        // How much of the text it takes makes no difference here.
        if rest.first == "?" { rest.removeFirst() }
        if let next = rest.first, "*+?{".unicodeScalars.contains(next) {
            throw Problem(message: "nothing to repeat before \(next)")
        }
        return result
    }

    /// The rest of `{m}`, `{m,}` or `{m,n}`, up to the brace.
    private mutating func counted(_ node: PatternNode) throws(Problem) -> PatternNode {
        let text = String(String.UnicodeScalarView(rest.prefix { $0 != "}" }))
        let parts = text.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
        let numbers = parts.map { part in part.utf8.allSatisfy(\.isASCIIDigit) ? Int(part) : nil }
        let bounds = 0...Self.mostRepeated
        guard rest.count > text.unicodeScalars.count, let first = numbers.first, let least = first,
            bounds.contains(least)
        else { throw Problem(message: "expected {m}, {m,} or {m,n} with numbers up to \(bounds.upperBound)") }
        rest = rest.dropFirst(text.unicodeScalars.count + 1)
        if parts.count == 1 { return .repeated(node, least: least, most: least) }
        if parts[1].isEmpty { return .repeated(node, least: least, most: nil) }
        guard let most = numbers[1], bounds.contains(most), least <= most else {
            throw Problem(message: "expected {m,n} with m <= n, both up to \(bounds.upperBound)")
        }
        return .repeated(node, least: least, most: most)
    }

    private mutating func escape() throws(Problem) -> PatternNode {
        let scalar = try escaped()
        switch scalar {
        case "d": return .one(.digits)
        case "w": return .one(.wordCharacters)
        case "s": return .one(.spaces)
        case "D": return .one(.init(ranges: PatternNode.CharacterSet.digits.ranges, isNegated: true))
        case "W": return .one(.init(ranges: PatternNode.CharacterSet.wordCharacters.ranges, isNegated: true))
        case "S": return .one(.init(ranges: PatternNode.CharacterSet.spaces.ranges, isNegated: true))
        case _ where PatternNode.CharacterSet.wordCharacters.contains(scalar):
            throw Problem(message: "\\\(scalar) is not supported")
        default: return Self.literal(scalar)
        }
    }

    // MARK: - Both

    private static func literal(_ scalar: Unicode.Scalar) -> PatternNode {
        .one(.init(ranges: [scalar...scalar]))
    }

    private mutating func escaped() throws(Problem) -> Unicode.Scalar {
        guard let scalar = rest.popFirst() else { throw Problem(message: "a \\ with nothing after it") }
        return scalar
    }

    /// The rest of a `[...]`, negated by `!` or `^`; a `]` that comes first is one of the set.
    private mutating func set() throws(Problem) -> PatternNode.CharacterSet {
        var set = PatternNode.CharacterSet()
        if rest.first == "!" || rest.first == "^" {
            set.isNegated = true
            rest.removeFirst()
        }
        var isFirst = true
        while let scalar = rest.popFirst() {
            if scalar == "]", !isFirst { return set }
            isFirst = false
            let lower = scalar == "\\" ? try escaped() : scalar
            if scalar == "\\", let named = Self.classes[lower] {
                set.ranges += named.ranges
                continue
            }
            guard rest.first == "-", let second = rest.dropFirst().first, second != "]" else {
                set.ranges.append(lower...lower)
                continue
            }
            rest.removeFirst(2)
            let upper = second == "\\" ? try escaped() : second
            guard lower <= upper else { throw Problem(message: "\(lower)-\(upper) is no range") }
            set.ranges.append(lower...upper)
        }
        throw Problem(message: "a [ without its ]")
    }

    private static let classes: [Unicode.Scalar: PatternNode.CharacterSet] = [
        "d": .digits, "w": .wordCharacters, "s": .spaces,
    ]
}
