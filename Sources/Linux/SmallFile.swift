internal import Glibc

/// Reads files that fit into a few pages: settings, tokens, /proc entries.
package enum SmallFile {
    /// The whole file as text; invalid UTF-8 is replaced. Waits for a pipe.
    package static func text(of path: String) throws(SystemError) -> String {
        let bytes = try content(
            OwnedDescriptor(owning: try SystemError.check("open", open(path, O_RDONLY | O_CLOEXEC))))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The first line without its end, as in an entry of /proc or /sys that holds one value.
    package static func firstLine(of path: String) throws(SystemError) -> String {
        String(try text(of: path).prefix { $0 != "\n" })
    }

    /// The text of a file that somebody else may have put there: a regular one (else EINVAL) of at most `limit` bytes
    /// (else EFBIG).
    package static func text(of path: String, limit: Int) throws(SystemError) -> String {
        String(decoding: try bytes(of: path, limit: limit), as: UTF8.self)
    }

    /// The same, undecoded.
    package static func bytes(of path: String, limit: Int) throws(SystemError) -> [UInt8] {
        // O_NONBLOCK: opening a FIFO without a writer would wait for ever.
        let flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK
        let descriptor = OwnedDescriptor(owning: try SystemError.check("open", open(path, flags)))
        var status = stat()
        _ = try SystemError.check("fstat", fstat(descriptor.rawValue, &status))
        guard status.st_mode & S_IFMT == S_IFREG else { throw SystemError(code: EINVAL, operation: "open") }
        guard status.st_size <= limit else { throw SystemError(code: EFBIG, operation: "open") }
        return try content(descriptor)
    }

    /// Whether a folder is at `path`, or at the end of the links there.
    package static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    private static func content(_ descriptor: borrowing OwnedDescriptor) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        var page = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try SystemError.check("read", read(descriptor.rawValue, &page, page.count))
            if count == 0 { return bytes }
            bytes += page[..<count]
        }
    }
}
