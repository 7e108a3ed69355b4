internal import Glibc
internal import RumConfig

/// Checks and makes disk images with qemu-img, which is always told the format: left to guess, it would take a raw
/// disk whose guest wrote a qcow2 header for one that may name files of the host.
enum DiskImage {
    /// What is known about an image that was looked at.
    struct Info: Hashable, Sendable {
        enum Format: String, Codable, Sendable {
            case qcow2, raw
        }

        let format: Format
        let virtualSize: UInt64
    }

    /// Format and size of the image at `path`; throws for what no machine can start from, and for what is packed.
    static func info(_ path: String) throws(MachineError) -> Info {
        let file = try ImageFile(path)
        switch file.content {
        case .qcow2(let header): return Info(format: .qcow2, virtualSize: header.virtualSize)
        case .raw: return Info(format: .raw, virtualSize: file.size)
        case .packed:
            throw ImageFault(
                "is packed twice", hint: "Unpack it by hand, and name what comes out in image.base."
            ).error(path)
        }
    }

    /// Throws unless all parts of the image that `info` is about are there.
    static func checkWhole(_ path: String, _ info: Info) async throws(MachineError) {
        // Of a raw disk, the partition table or file system was compared with the size already.
        guard info.format == .qcow2 else { return }
        let outcome = try await Tool.qemuImg.outcome(of: ["check", "-q", "-U", "-f", "qcow2", path])
        // 3: clusters that nothing uses, which do no harm (qemu-img(1), check).
        guard outcome.succeeded || outcome.exitCode == 3 else {
            throw ImageFault(
                "is damaged: \(outcome.complaint)",
                hint: "Fetch it again. To see more: qemu-img check -f qcow2 '\(path)'"
            ).error(path)
        }
    }

    /// The size of a machine's own disk as its guest sees it.
    static func virtualSize(ofDisk path: String) throws(MachineError) -> UInt64 {
        let head = try ImageFile.head(of: path).bytes
        do throws(ImageFault) {
            return try Qcow2Header(head).virtualSize
        } catch {
            throw error.error(path)
        }
    }

    /// Makes a disk of `size` at `path` that holds only the differences from `base`.
    static func createOverlay(
        _ path: String, base: String, baseInfo: Info, size: ByteSize
    ) async throws(MachineError) {
        let needed = ByteSize(bytes: baseInfo.virtualSize)
        guard size >= needed else {
            throw MachineError(
                .image, "resources.disk is \(size), but the image \(base) needs \(needed)",
                hint: "Set disk to at least that size.")
        }
        let temporary = path + ".new"
        try MachineFiles.checkRoom(for: MachineLimits.emptyOverlaySize, at: temporary)
        try await Tool.qemuImg.output(of: [
            "create", "-q", "-f", "qcow2", "-b", base, "-F", baseInfo.format.rawValue, temporary,
            "\(size.bytes)",
        ])
        // The folder may have to let QEMU's user through.
        _ = chmod(temporary, 0o600)
        try MachineFiles.move(temporary, to: path)
    }
}
