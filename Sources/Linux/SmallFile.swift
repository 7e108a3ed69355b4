internal import Glibc

/// Reads files that fit into a few pages: settings, tokens, /proc entries.
package enum SmallFile {
    /// The whole file as text; invalid UTF-8 is replaced.
    package static func text(of path: String) throws(SystemError) -> String {
        let descriptor = OwnedDescriptor(
            owning: try SystemError.check("open", open(path, O_RDONLY | O_CLOEXEC)))
        var bytes: [UInt8] = []
        var page = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = try SystemError.check("read", read(descriptor.rawValue, &page, page.count))
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += page[..<count]
        }
    }
}
