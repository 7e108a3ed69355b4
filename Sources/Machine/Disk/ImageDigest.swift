internal import Linux

/// A checksum of an image, and the algorithm that its length tells.
struct ImageDigest: Hashable, Sendable {
    /// Lower-case hexadecimal digits.
    let text: String
    let tool: Tool

    /// nil unless it is a SHA-256 or a SHA-512.
    init?(_ text: some StringProtocol) {
        guard text.utf8.allSatisfy(\.isASCIIHexDigit) else { return nil }
        switch text.utf8.count {
        case 64: tool = .sha256sum
        case 128: tool = .sha512sum
        default: return nil
        }
        self.text = text.lowercased()
    }

    /// Such as `sha256`.
    var name: String { tool == .sha256sum ? "sha256" : "sha512" }

    /// What starts the names of its files in the cache: a SHA-512 would make them too long.
    var prefix: String { String(text.prefix(64)) }

    /// The digest of `file` in a list of them: lines of `DIGEST  FILE`, `DIGEST *FILE`, `SHA256 (FILE) = DIGEST`, or the
    /// digest alone. Of several the strongest counts.
    static func find(_ file: String, in list: String) -> ImageDigest? {
        var found: [ImageDigest] = []
        for line in list.split(whereSeparator: \.isNewline) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            let digest: Substring?
            switch words.count {
            case 1: digest = words[0]
            case 2 where words[1] == file || words[1] == "*" + file || words[1].hasSuffix("/" + file):
                digest = words[0]
            case 4 where words[1] == "(\(file))" && words[2] == "=": digest = words[3]
            default: digest = nil
            }
            if let digest = digest.flatMap({ ImageDigest($0) }) { found.append(digest) }
        }
        return found.max { $0.text.utf8.count < $1.text.utf8.count }
    }

    /// Throws unless the file at `path` has this digest. `source` is what the user knows it as, `origin` who says so.
    func check(_ path: String, source: String, origin: String) async throws(MachineError) {
        let actual = try await Self.digits(of: path, by: tool)
        guard actual != text else { return }
        let isPinned = origin == Self.pinned
        throw MachineError(
            .image, "\(source) has the \(name) \(actual), but \(origin) is \(text)",
            hint: isPinned
                ? "If the image is the one you want, set image.sha256 to the first of these."
                : "Run it again: the server may have been changing the image. What was fetched is not used.")
    }

    /// What a checksum program says of the file at `path`: lower-case hexadecimal digits.
    static func digits(of path: String, by tool: Tool = .sha256sum) async throws(MachineError) -> String {
        let output = try await tool.output(of: ["--", path])
        // GNU marks names with odd characters by a backslash in front of the digest.
        return String(output.drop { $0 == "\\" }.prefix { $0 != " " })
    }

    /// Who says so, when rum.toml does.
    static let pinned = "image.sha256"
}
