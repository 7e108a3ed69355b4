extension StringProtocol {
    /// The text as it can be shown on a terminal, in one line.
    ///
    /// Whoever chose the text (a process in a guest, a peer, a file) cannot move the cursor, colour, hide, reorder or
    /// forge other text with it: control characters of both sets, line ends, and everything invisible or about the
    /// direction of writing (Unicode UAX #9, UTS #39) becomes `\u{...}`. What is longer than `limit` characters is cut.
    ///
    /// Use it on every string from elsewhere that is printed as text; JSON has escapes of its own.
    package func printable(limit: Int = 200) -> String {
        var result = ""
        var room = limit
        for scalar in unicodeScalars {
            guard room > 0 else { return result + "…" }
            room -= 1
            if scalar.isPrintable {
                result.unicodeScalars.append(scalar)
            } else {
                result += "\\u{" + String(scalar.value, radix: 16) + "}"
            }
        }
        return result
    }
}

extension String {
    /// The text up to so many Unicode scalars, for what may be of any length. A bound of characters is none: one character can have
    /// any number of combining marks.
    package func cut(to limit: Int) -> String {
        utf8.count <= limit ? self : String(unicodeScalars.prefix(limit))
    }
}

extension Unicode.Scalar {
    /// Whether a terminal shows it in its place, as something.
    package var isPrintable: Bool {
        if isASCII { return value >= 32 && value < 127 }
        if properties.isDefaultIgnorableCodePoint { return false }
        switch properties.generalCategory {
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
            return false
        default: return true
        }
    }
}
