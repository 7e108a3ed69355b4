internal import Linux

/// The git worktree that a folder is in, read from its files (gitrepository-layout(5)): git itself need not be installed.
struct GitWorktree {
    /// The folder that has `.git`.
    let top: String
    /// The folder that has HEAD: `.git`, or for a linked worktree the one that the file `.git` names.
    let folder: String

    /// The nearest worktree that holds `folder`, an absolute path; nil when there is none.
    init?(around folder: String) {
        var parts = folder.split(separator: "/")
        while true {
            let top = "/" + parts.joined(separator: "/")
            let entry = top == "/" ? "/.git" : top + "/.git"
            if SmallFile.isFolder(entry) {
                self.top = top
                self.folder = entry
                return
            }
            if let text = try? SmallFile.text(of: entry, limit: ConfigLimits.gitFile),
                text.hasPrefix("gitdir: ")
            {
                let path = Self.line(text.dropFirst("gitdir: ".count))
                self.top = top
                self.folder = path.hasPrefix("/") ? path : top + "/" + path
                return
            }
            if parts.popLast() == nil { return nil }
        }
    }

    /// The branch that is checked out, else the first digits of the commit; nil when HEAD says neither.
    var branch: String? {
        guard let text = try? SmallFile.text(of: folder + "/HEAD", limit: ConfigLimits.gitFile) else {
            return nil
        }
        let head = Self.line(text[...])
        let prefix = "ref: refs/heads/"
        // A repository with reftables has a HEAD that names this one for ever.
        if head.hasPrefix(prefix) {
            return head == prefix + ".invalid" ? nil : String(head.dropFirst(prefix.count))
        }
        return head.utf8.count >= 40 && head.utf8.allSatisfy(\.isASCIIHexDigit) ? String(head.prefix(8)) : nil
    }

    private static func line(_ text: Substring) -> String {
        String(text.prefix { $0 != "\n" && $0 != "\r\n" })
    }
}
