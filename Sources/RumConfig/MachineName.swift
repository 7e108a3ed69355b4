internal import Linux

/// The rules for a machine's name, and how it is derived from the file's.
package enum MachineName {
    /// In words, for errors.
    package static let rule =
        "1 to \(ConfigLimits.machineName) letters, digits, '-', '_' and '.', the first a letter or digit"

    /// Whether it keeps to the rule; the letters and digits are those of ASCII.
    package static func isValid(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= ConfigLimits.machineName,
            first.isASCIIAlphanumeric
        else { return false }
        return name.utf8.allSatisfy { $0.isASCIIAlphanumeric || "-_.".utf8.contains($0) }
    }

    /// `dev.rum.toml` -> `dev`, else the name of the folder the file is in. `path` is absolute.
    static func derive(fromPath path: String) -> String {
        let parts = path.split(separator: "/")
        guard let file = parts.last else { return "" }
        let suffix = ".rum.toml"
        if file.hasSuffix(suffix), file.count > suffix.count { return String(file.dropLast(suffix.count)) }
        return parts.dropLast().last.map(String.init) ?? ""
    }
}
