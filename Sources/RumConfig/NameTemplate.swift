internal import Linux

/// A machine's name with words in braces that stand for where its rum.toml is, so that each worktree of a repository has a
/// machine of its own.
enum NameTemplate {
    struct Problem: Error {
        let message: String
    }

    private enum Word: String, CaseIterable {
        /// The folder of rum.toml.
        case dir
        /// The git branch that is checked out; the commit's first digits when none is.
        case branch
        /// The top folder of the git worktree.
        case worktree
    }

    /// `text` with every word filled in, `path` being the absolute path of the rum.toml; `text` itself without words.
    ///
    /// What a name can't have in it becomes `-`. Too long a name ends in a digest of the whole, so that two branches with a
    /// long beginning in common stay two machines. Reads files of .git, which may be damaged.
    static func filled(_ text: String, for path: String) throws(Problem) -> String {
        guard text.contains("{") || text.contains("}") else { return text }
        var name = ""
        var rest = text[...]
        while let open = rest.firstIndex(of: "{") {
            name += rest[..<open]
            guard let close = rest[open...].firstIndex(of: "}") else { break }
            name += cleaned(try value(of: rest[rest.index(after: open)..<close], path: path))
            rest = rest[rest.index(after: close)...]
        }
        if rest.contains(where: { "{}".contains($0) }) {
            throw Problem(message: "a brace without the other; \(rule)")
        }
        return shortened(name + rest)
    }

    private static let rule =
        "expected " + Word.allCases.map { "{\($0.rawValue)}" }.joined(separator: ", ") + " or text"

    private static func value(of word: Substring, path: String) throws(Problem) -> String {
        guard let word = Word(rawValue: String(word)) else {
            throw Problem(
                message: "unknown {\(String(word).printable(limit: ConfigLimits.shownText))}; \(rule)")
        }
        let folder = String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)])
        if word == .dir { return lastPart(of: folder) }
        guard let worktree = GitWorktree(around: folder) else {
            throw Problem(message: "{\(word.rawValue)} has no value, since \(folder) is in no git worktree")
        }
        if word == .worktree { return lastPart(of: worktree.top) }
        guard let branch = worktree.branch else {
            throw Problem(
                message: "{branch} has no value, since git's HEAD in \(worktree.folder) cannot be read")
        }
        return branch
    }

    private static func lastPart(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? ""
    }

    private static func cleaned(_ text: String) -> String {
        String(text.map { MachineName.isValid("a\($0)") ? $0 : "-" })
    }

    private static func shortened(_ name: String) -> String {
        guard name.utf8.count > ConfigLimits.machineName else { return name }
        let digest = "-" + Fingerprint.of(name).prefix(8)
        return name.prefix(ConfigLimits.machineName - digest.count) + digest
    }
}
