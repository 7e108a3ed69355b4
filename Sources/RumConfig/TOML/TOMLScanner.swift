internal import Linux

/// Reads the words of a TOML document: keys, strings, numbers, white space.
struct TOMLScanner {
    /// A place in the document, counted from 1.
    struct Place {
        let line: Int
        let column: Int

        func error(_ message: String) -> TOMLSyntaxError {
            TOMLSyntaxError(line: line, column: column, message: message)
        }
    }

    private let bytes: [UInt8]
    private var position = 0
    private var lineStart = 0
    private(set) var line = 1

    init(_ text: String) {
        bytes = Array(text.utf8)
        // Some editors put a byte order mark in front.
        if bytes.starts(with: "\u{feff}".utf8) {
            position = 3
            lineStart = 3
        }
    }

    var current: UInt8? { position < bytes.count ? bytes[position] : nil }

    var place: Place {
        // Continuation bytes of UTF-8 do not start a scalar.
        let column = bytes[lineStart..<position].count { $0 & 0xc0 != 0x80 } + 1
        return Place(line: line, column: column)
    }

    // MARK: - Moving

    mutating func advance(_ count: Int = 1) {
        for _ in 0..<count where position < bytes.count {
            position += 1
            if bytes[position - 1] == UInt8(ascii: "\n") {
                line += 1
                lineStart = position
            }
        }
    }

    private func isAt(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[position...].starts(with: $0) }
    }

    /// Passes `text` if it comes next.
    mutating func take(_ text: StaticString) -> Bool {
        guard isAt(text) else { return false }
        advance(text.utf8CodeUnitCount)
        return true
    }

    /// Passes `text`, after spaces, or fails.
    mutating func expect(_ text: StaticString, _ purpose: String) throws(TOMLSyntaxError) {
        skipSpaces()
        if !take(text) { throw place.error("expected \(text) \(purpose), not \(found)") }
    }

    /// Spaces and tabs.
    mutating func skipSpaces() {
        while let byte = current, byte == 32 || byte == 9 { advance() }
    }

    /// Spaces, line ends and comments.
    mutating func skipBlank() throws(TOMLSyntaxError) {
        repeat {
            skipSpaces()
            try skipComment()
        } while take("\n") || take("\r\n")
    }

    /// What may follow a header or a value: spaces and a comment up to the end of the line.
    mutating func endLine() throws(TOMLSyntaxError) {
        skipSpaces()
        try skipComment()
        guard current == nil || take("\n") || take("\r\n") else {
            throw place.error("expected the end of the line, not \(found)")
        }
    }

    private mutating func skipComment() throws(TOMLSyntaxError) {
        guard current == UInt8(ascii: "#") else { return }
        while let byte = current, byte != UInt8(ascii: "\n"), !isAt("\r\n") {
            guard !Self.isControl(byte) else { throw place.error("expected text, not \(found)") }
            advance()
        }
    }

    /// What comes next, for messages.
    private var found: String {
        guard let byte = current else { return "the end of the file" }
        if byte == UInt8(ascii: "\n") || isAt("\r\n") { return "the end of the line" }
        guard byte >= 32, byte != 127 else { return "the control character \(byte)" }
        let scalar = String(decoding: bytes[position...].prefix(4), as: UTF8.self).unicodeScalars.first
        return scalar.map { "'\($0)'" } ?? "nothing"
    }

    /// Control characters but the tab are allowed nowhere.
    private static func isControl(_ byte: UInt8) -> Bool { byte < 32 && byte != 9 || byte == 127 }

    // MARK: - Keys and scalars

    private static func isBare(_ byte: UInt8) -> Bool {
        byte.isASCIIAlphanumeric || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "-")
    }

    private mutating func word(while condition: (UInt8) -> Bool) -> String {
        let first = position
        while let byte = current, condition(byte) { advance() }
        return String(decoding: bytes[first..<position], as: UTF8.self)
    }

    /// One part of a key: bare, or a one-line string.
    mutating func key() throws(TOMLSyntaxError) -> String {
        if let byte = current, byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") {
            guard !isAt("\"\"\""), !isAt("'''") else { throw place.error("a key cannot span lines") }
            return try string()
        }
        let text = word(while: Self.isBare)
        guard !text.isEmpty else { throw place.error("expected a key, not \(found)") }
        return text
    }

    /// A number, a boolean, or a date or time.
    mutating func scalar() throws(TOMLSyntaxError) -> TOMLNode.Value {
        let start = place
        var text = word { Self.isBare($0) || "+.:".utf8.contains($0) }
        // A space may stand between a date and a time.
        if TOMLScalar.isDate(text.utf8), current == 32,
            bytes[position...].dropFirst().first.map(Self.isBare) == true
        {
            advance()
            text += " " + word { Self.isBare($0) || "+.:".utf8.contains($0) }
        }
        switch text {
        case "": throw start.error("expected a value, not \(found)")
        case "true": return .boolean(true)
        case "false": return .boolean(false)
        default: break
        }
        if let value = TOMLScalar.value(text) { return value }
        throw start.error("\(text) is no value; a text needs quotes")
    }

    // MARK: - Strings

    /// Any of the four kinds of string.
    mutating func string() throws(TOMLSyntaxError) -> String {
        if take("\"\"\"") { return try string(until: "\"\"\"", isBasic: true, isMultiline: true) }
        if take("'''") { return try string(until: "'''", isBasic: false, isMultiline: true) }
        if take("\"") { return try string(until: "\"", isBasic: true, isMultiline: false) }
        advance()
        return try string(until: "'", isBasic: false, isMultiline: false)
    }

    private mutating func string(
        until end: StaticString, isBasic: Bool, isMultiline: Bool
    ) throws(TOMLSyntaxError) -> String {
        var text: [UInt8] = []
        // A line end right after the opening quotes is not part of the text.
        if isMultiline { _ = take("\n") || take("\r\n") }
        while let byte = current {
            if isAt(end) {
                // Up to two quotes may stand right before the closing three.
                for _ in 0..<2 where isMultiline && bytes[position...].dropFirst(3).first == byte {
                    text.append(byte)
                    advance()
                }
                advance(end.utf8CodeUnitCount)
                return String(decoding: text, as: UTF8.self)
            } else if isBasic, byte == UInt8(ascii: "\\") {
                text += try escape(isMultiline: isMultiline)
            } else if isMultiline, byte == UInt8(ascii: "\n") || isAt("\r\n") {
                if byte != UInt8(ascii: "\n") { advance() }
                text.append(UInt8(ascii: "\n"))
                advance()
            } else if Self.isControl(byte) {
                throw place.error("expected \(end) to end the text, not \(found)")
            } else {
                text.append(byte)
                advance()
            }
        }
        throw place.error("expected \(end) to end the text, not \(found)")
    }

    /// Reads a backslash and what it stands for.
    private mutating func escape(isMultiline: Bool) throws(TOMLSyntaxError) -> [UInt8] {
        let start = place
        advance()
        let letter = current
        advance()
        switch letter {
        case UInt8(ascii: "b"): return [8]
        case UInt8(ascii: "t"): return [9]
        case UInt8(ascii: "n"): return [10]
        case UInt8(ascii: "f"): return [12]
        case UInt8(ascii: "r"): return [13]
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): return [letter].compactMap { $0 }
        case UInt8(ascii: "u"): return try unicode(digits: 4, start)
        case UInt8(ascii: "U"): return try unicode(digits: 8, start)
        case 32, 9, 10, 13:
            // A backslash at the end of a line joins it with the next text.
            guard isMultiline else { break }
            // Back to the first of them: a carriage return counts only in front of a line feed.
            position -= letter == 10 ? 0 : 1
            var sawLineEnd = letter == 10
            while let byte = current, byte == 32 || byte == 9 || byte == 10 || isAt("\r\n") {
                sawLineEnd = sawLineEnd || byte == 10
                advance()
            }
            if sawLineEnd { return [] }
        default: break
        }
        throw start.error("not an escape of TOML; write \\\\ for a backslash, or use single quotes")
    }

    private mutating func unicode(digits: Int, _ start: Place) throws(TOMLSyntaxError) -> [UInt8] {
        let text = String(decoding: bytes[position...].prefix(digits), as: UTF8.self)
        guard text.utf8.count == digits, text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") }),
            let number = UInt32(text, radix: 16), let scalar = Unicode.Scalar(number)
        else { throw start.error("expected \(digits) hexadecimal digits of a Unicode scalar") }
        advance(digits)
        return Array(String(Character(scalar)).utf8)
    }
}
