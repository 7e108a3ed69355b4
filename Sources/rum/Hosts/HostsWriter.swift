import CommandMain
import Glibc
import Linux

/// Reads and replaces a hosts file. Blocks on the disk.
struct HostsWriter {
    /// As the user named it.
    private let name: String
    /// The file itself, since /etc/hosts may be a link.
    private let path: String

    init(path: String) {
        name = path
        guard let resolved = realpath(path, nil) else {
            self.path = path
            return
        }
        defer { free(resolved) }
        self.path = String(cString: resolved)
    }

    func read() throws(CommandFailure) -> [UInt8] {
        do throws(SystemError) {
            return try SmallFile.bytes(of: path, limit: 16 << 20)
        } catch {
            throw CommandFailure(
                "cannot read \(name): \(error.reason)", hint: "give another file with --file")
        }
    }

    /// Puts a new file in the place of the old one, with its owner and mode, so that nobody ever sees half of it.
    func replace(with bytes: [UInt8]) throws(CommandFailure) {
        do throws(SystemError) {
            var status = stat()
            _ = try SystemError.check("stat", stat(path, &status))
            try WholeFile.write(bytes, to: path) { file throws(SystemError) in
                _ = try SystemError.check("fchown", fchown(file, status.st_uid, status.st_gid))
                _ = try SystemError.check("fchmod", fchmod(file, status.st_mode & 0o7777))
            }
        } catch {
            throw CommandFailure("cannot write \(name): \(error.reason)", hint: Self.hint(error))
        }
    }

    private static func hint(_ error: SystemError) -> String {
        switch error.code {
        case EACCES, EPERM: "as root: rum hosts | sudo rum hosts --install --yes --from -"
        // A file that is mounted by itself, as in a container, can't be replaced (rename(2)).
        case EBUSY, EXDEV: "it is mounted by itself, so add the lines by hand: rum hosts >> /etc/hosts"
        default: "add the lines of `rum hosts` by hand"
        }
    }
}
