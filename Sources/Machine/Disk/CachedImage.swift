internal import Glibc
internal import RumConfig

/// A file in the cache of images.
package struct CachedImage: Hashable, Sendable {
    package let path: String
    package let size: UInt64
    /// Whether a machine stands on it: then the cache has only a second name of the machine's file.
    package let isInUse: Bool
    /// Seconds since the epoch.
    let modified: Int

    /// A whole image, and not the part of one, or a lock.
    var isImage: Bool {
        ![".part", ".lock", ".headers", ".unpacked"].contains { path.hasSuffix($0) }
    }

    /// The name of the image, when it is one of those that have names.
    package var imageName: String? {
        NamedImage.all.first { isOf($0.url.split(separator: "/").last.map(String.init) ?? "") }?.name
    }

    /// Whether it was downloaded as `file`.
    func isOf(_ file: String) -> Bool { path.hasSuffix("-" + file) }

    /// The files in the folder `directory`, by name.
    package static func all(in directory: String) -> [CachedImage] {
        MachineFiles.names(in: directory).sorted().compactMap { name in
            let path = "\(directory)/\(name)"
            var status = stat()
            guard lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
            // Blocks, since images have holes.
            return CachedImage(
                path: path, size: UInt64(status.st_blocks) * 512, isInUse: status.st_nlink > 1,
                modified: Int(status.st_mtim.tv_sec))
        }
    }

    /// The images of the cache.
    package static func images(environment: [String: String]) -> [CachedImage] {
        all(in: folder(environment)).filter(\.isImage)
    }

    /// Where they are.
    package static func folder(_ environment: [String: String]) -> String {
        MachineFiles(machine: "", environment: environment).cache + "/images"
    }

    /// Removes all that nobody is downloading right now; what was removed. Machines keep what they stand on.
    package static func prune(environment: [String: String]) throws(MachineError) -> [CachedImage] {
        let files = all(in: folder(environment))
        // One lock stands for an image, what is left of its download, and the lock itself.
        let groups = Set(files.map { $0.base })
        var removed: [CachedImage] = []
        for group in groups.sorted() {
            try FileLock.attempting(group + ".lock") { () throws(MachineError) in
                for file in files where file.base == group {
                    try MachineFiles.remove(file.path)
                    if !file.path.hasSuffix(".lock") { removed.append(file) }
                }
                try MachineFiles.remove(group + ".lock")
            }
        }
        return removed
    }

    /// The path of the image that it is, or is about.
    private var base: String {
        for suffix in [".lock", ".part.headers", ".part", ".unpacked"] where path.hasSuffix(suffix) {
            return String(path.dropLast(suffix.count))
        }
        return path
    }
}
