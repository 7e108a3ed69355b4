internal import Glibc

/// Writes files that nobody ever sees a part of: at the path there is what was there before, or all of the new content.
package enum WholeFile {
    /// Writes a new file beside `path` and gives it that name. Blocks on the disk.
    ///
    /// - Parameters:
    ///   - mode: of the new file, without what the process's umask takes away (open(2)).
    ///   - replaces: whether what is at `path` gives way; else it is an error (EEXIST).
    ///   - lasts: whether the content is on the disk before the file gets its name: a loss of power could leave it empty
    ///     otherwise. Not worth its time where the file system itself is in memory.
    ///   - prepare: sets the owner, or bits of the mode that the umask takes away, of the new file's descriptor.
    package static func write(
        _ content: some Sequence<UInt8>, to path: String, mode: UInt32 = 0o600, replaces: Bool = true,
        lasts: Bool = true, prepare: (Int32) throws(SystemError) -> Void = { _ in }
    ) throws(SystemError) {
        let temporary = "\(path).\(getpid()).new"
        removeLeftovers(of: path)
        let flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC
        let file = OwnedDescriptor(owning: try SystemError.check("open", open(temporary, flags, mode)))
        defer { unlink(temporary) }
        try prepare(file.rawValue)
        try file.write(content)
        if lasts { _ = try SystemError.check("fsync", fsync(file.rawValue)) }
        if replaces {
            _ = try SystemError.check("rename", rename(temporary, path))
        } else {
            // Unlike rename(2), link(2) replaces nothing.
            _ = try SystemError.check("link", link(temporary, path))
        }
    }

    /// Removes what writers of `path` have left that were killed before they were done.
    private static func removeLeftovers(of path: String) {
        let slash = path.utf8.lastIndex(of: UInt8(ascii: "/"))
        let folder = slash.map { String(path[...$0]) } ?? "./"
        let prefix = (slash.map { path[path.utf8.index(after: $0)...] } ?? path[...]) + "."
        guard let entries = opendir(folder) else { return }
        defer { closedir(entries) }
        while let entry = readdir(entries) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            guard name.hasPrefix(prefix), name.hasSuffix(".new"),
                let pid = pid_t(name.dropFirst(prefix.count).dropLast(".new".count)), pid > 0
            else { continue }
            // One of this process's number is of an earlier process, since this one has none yet.
            if pid == getpid() || kill(pid, 0) != 0 && errno == ESRCH { unlink(folder + name) }
        }
    }
}
