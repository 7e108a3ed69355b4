internal import Glibc

/// Tells whether another user could reach a file.
enum PathAccess {
    /// The first folder above `path` that the user `user` may not enter; nil when there is none.
    ///
    /// Groups and access lists are not looked at beyond the group bits, which hold an access list's mask; so a
    /// folder counts as an obstacle only when it certainly is one.
    static func obstacle(on path: String, for user: UInt32) -> String? {
        var folder = ""
        for part in path.split(separator: "/").dropLast() {
            folder += "/\(part)"
            var status = stat()
            // What does not exist yet is made by this program, open enough.
            guard stat(folder, &status) == 0 else { return nil }
            let bit: mode_t = status.st_uid == user ? 0o100 : 0o011
            if status.st_mode & bit == 0 { return folder }
        }
        return nil
    }
}
