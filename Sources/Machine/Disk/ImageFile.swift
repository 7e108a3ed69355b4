internal import Glibc
internal import Linux

/// A file that may be an image, looked at without any program of QEMU.
struct ImageFile {
    let path: String
    let size: UInt64
    let content: ImageContent

    /// Reads the start of the file at `path`; throws for all that is no usable image or packed image.
    init(_ path: String) throws(MachineError) {
        let (bytes, size) = try Self.head(of: path)
        self.path = path
        self.size = size
        do throws(ImageFault) {
            content = try ImageContent(head: bytes, fileSize: size)
        } catch {
            throw error.error(path)
        }
    }

    /// The first bytes of the regular file at `path`, and its size. Nothing that `path` names can make it hang.
    static func head(of path: String) throws(MachineError) -> (bytes: [UInt8], size: UInt64) {
        do throws(SystemError) {
            // O_NONBLOCK: opening a FIFO without a writer would wait for ever.
            let file = OwnedDescriptor(
                owning: try SystemError.check("open", open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)))
            var status = stat()
            _ = try SystemError.check("fstat", fstat(file.rawValue, &status))
            guard status.st_mode & S_IFMT == S_IFREG else { throw SystemError(code: 0, operation: "fstat") }
            var bytes = [UInt8](repeating: 0, count: MachineLimits.imageHeadSize)
            var filled = 0
            while filled < bytes.count {
                let count = bytes.withUnsafeMutableBytes { buffer in
                    pread(
                        file.rawValue, buffer.baseAddress?.advanced(by: filled), buffer.count - filled, filled
                    )
                }
                if try SystemError.check("read", count) == 0 { break }
                filled += count
            }
            return (Array(bytes[..<filled]), UInt64(status.st_size))
        } catch {
            throw failure(path, error)
        }
    }

    private static func failure(_ path: String, _ error: SystemError) -> MachineError {
        switch error.code {
        case 0, ENXIO:
            MachineError(
                .image, "\(path) is not a disk image: it is no regular file",
                hint: "image.base must be a qcow2 or raw file.")
        case ENOENT:
            MachineError(
                .image, "there is no image at \(path)",
                hint: "Correct image.base; a relative path starts at the folder of rum.toml.")
        default: MachineFiles.failure("read the image", path, error)
        }
    }
}
