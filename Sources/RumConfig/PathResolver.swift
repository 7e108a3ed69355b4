internal import Linux

/// Resolves the paths of a configuration file: relative ones against its folder, `~/` against the user's home.
struct PathResolver {
    /// The absolute path of the file.
    let file: String
    /// The user's home folder; nil leaves `~` unresolved.
    let home: String?

    /// The absolute form of `path`; nil when it is empty or holds control characters, which not every program that
    /// gets the path can take.
    func resolve(_ path: String) -> String? {
        guard !path.isEmpty, path.unicodeScalars.allSatisfy(\.isPrintable) else { return nil }
        if path.hasPrefix("/") { return path }
        if path.hasPrefix("~/") { return home.map { $0 + path.dropFirst() } }
        let folder = file[...(file.lastIndex(of: "/") ?? file.startIndex)]
        return String(folder) + (path.hasPrefix("./") ? path.dropFirst(2) : path[...])
    }

    /// The absolute `path` without `.`, `..` and doubled slashes.
    static func normalised(_ path: String) -> String {
        var parts: [Substring] = []
        for part in path.split(separator: "/") where part != "." {
            if part == ".." { _ = parts.popLast() } else { parts.append(part) }
        }
        return "/" + parts.joined(separator: "/")
    }

    /// Whether `text` can only be the name of an image: it has no `/`, and no suffix that starts with a letter.
    static func isName(_ text: String) -> Bool {
        if text.isEmpty || text.contains("/") { return false }
        guard let point = text.lastIndex(of: ".") else { return true }
        return text[text.index(after: point)...].first?.isNumber == true
    }

    /// An http or https URL, a path, or the name of an image; nil for other schemes and unknown names.
    ///
    /// A path has a `/` or a suffix; a word with neither is a name.
    func imageSource(_ text: String) -> MachineConfig.Image.Source? {
        guard let mark = text.firstRange(of: "://") else {
            return Self.isName(text)
                ? NamedImage.named(text).map { .named($0) } : resolve(text).map { .path($0) }
        }
        let rest = text[mark.upperBound...]
        guard !rest.isEmpty, text.unicodeScalars.allSatisfy({ $0.isPrintable && $0 != " " }) else {
            return nil
        }
        switch text[..<mark.lowerBound].lowercased() {
        case "http", "https": return .url(text)
        case "file": return rest.hasPrefix("/") ? .path(String(rest)) : nil
        default: return nil
        }
    }
}
