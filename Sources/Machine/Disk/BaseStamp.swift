internal import Glibc
internal import Linux

/// Tells whether a base image is still the file that a machine's disk was made on.
///
/// The disk holds only what differs from its base, so a base that changed under it means a corrupt file system.
struct BaseStamp: Codable, Hashable, Sendable {
    let path: String
    let size: Int64
    /// Nanoseconds since the epoch.
    let modified: Int64

    /// The state of the file at `path`.
    init(path: String) throws(MachineError) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            let error = SystemError.current("stat")
            guard error.code == ENOENT else { throw MachineFiles.failure("read the base image", path, error) }
            throw MachineError(
                .image, "the base image \(path), on which the machine's disk stands, is gone",
                hint: "Put it back, or run `rum up --reset` for a fresh disk of what image.base names.")
        }
        self.path = path
        size = Int64(status.st_size)
        // Wrapping: some file systems know years after 2262.
        modified = Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec)
    }

    /// Throws unless the file is as it was.
    func check() throws(MachineError) {
        guard try BaseStamp(path: path) == self else {
            throw MachineError(
                .image, "the base image \(path) has changed since the machine's disk was made on it",
                hint: "Put the old file back, or run `rum up --reset` for a fresh disk.")
        }
    }
}
