internal import Glibc

/// Tells whether another user could read a file.
enum PathAccess {
    /// Something that keeps a user from a file.
    struct Obstacle: Hashable {
        let path: String
        let isFolder: Bool
        /// Whether it is the calling user's, who may then change who gets through.
        let isMine: Bool

        /// What the other user gets: a way through a folder, or to read a file, and nothing more.
        func arguments(for user: UInt32) -> [String] {
            ["-m", "u:\(user):\(isFolder ? "x" : "r")", "--", path]
        }
        func cure(for user: UInt32) -> String { "setfacl -m u:\(user):\(isFolder ? "x" : "r") '\(path)'" }
        var verb: String { isFolder ? "pass through" : "read" }
    }

    /// What keeps the user `user` from the files at `paths`: folders that it may not enter, and files that it may not
    /// read.
    ///
    /// Groups and access lists are not looked at beyond the group bits, which hold an access list's mask; so only
    /// what certainly is an obstacle counts as one.
    static func obstacles(on paths: [String], for user: UInt32) -> [Obstacle] {
        var found: [Obstacle] = []
        for path in paths {
            let parts = path.split(separator: "/")
            var partial = ""
            for (index, part) in parts.enumerated() {
                partial += "/\(part)"
                let isFolder = index < parts.count - 1
                var status = stat()
                // What does not exist yet is made by this program, open enough.
                guard stat(partial, &status) == 0 else { break }
                let bits: mode_t = isFolder ? 0o111 : 0o444
                let allowed = status.st_mode & bits & (status.st_uid == user ? 0o700 : 0o077)
                let obstacle = Obstacle(
                    path: partial, isFolder: isFolder, isMine: status.st_uid == geteuid())
                if allowed == 0, !found.contains(obstacle) { found.append(obstacle) }
            }
        }
        return found
    }
}
