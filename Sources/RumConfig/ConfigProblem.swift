/// One thing that is wrong with a configuration file: where, what, and what was expected instead.
package struct ConfigProblem: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file as the user named it.
    package let file: String
    /// Counted from 1; nil when the file as a whole is meant.
    package let line: Int?
    /// Counted from 1, in characters; only syntax errors have one.
    package let column: Int?
    /// The key, such as `ports[1].host`; nil for syntax errors and for the file as a whole.
    package let key: String?
    /// What is wrong, and what was expected.
    package let message: String

    package init(file: String, line: Int? = nil, column: Int? = nil, key: String? = nil, message: String) {
        self.file = file
        self.line = line
        self.column = column
        self.key = key
        self.message = message
    }

    /// `FILE:LINE:COLUMN: KEY: MESSAGE`, leaving out what is not known.
    package var description: String {
        let place = [file, line.map { "\($0)" }, column.map { "\($0)" }].compactMap { $0 }
        return [place.joined(separator: ":"), key, message].compactMap { $0 }.joined(separator: ": ")
    }
}

/// Everything that is wrong with a configuration file, in the order of its lines; never empty.
package struct ConfigErrors: Error, Hashable, Sendable, CustomStringConvertible {
    package let problems: [ConfigProblem]

    /// Sorts the problems by line; those of the whole file come last.
    package init(_ problems: [ConfigProblem]) {
        self.problems = problems.enumerated().sorted {
            ($0.element.line ?? .max, $0.offset) < ($1.element.line ?? .max, $1.offset)
        }.map(\.element)
    }

    /// What to do next.
    package var hint: String {
        if let missing = problems.first, missing.line == nil, missing.key == nil {
            return "`rum init` writes one, `man rum.toml` lists its keys, and -c names another file."
        }
        return problems.count == 1
            ? "Correct this line and run the command again; nothing was changed."
            : "Correct these lines and run the command again; nothing was changed."
    }

    /// One problem a line.
    package var description: String { problems.map(\.description).joined(separator: "\n") }
}
