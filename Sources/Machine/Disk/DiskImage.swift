internal import FoundationEssentials
internal import Glibc
internal import RumConfig

/// Reads and makes disk images with qemu-img.
enum DiskImage {
    /// What qemu-img says about an image.
    struct Info: Codable, Hashable, Sendable {
        let format: String
        let virtualSize: UInt64

        enum CodingKeys: String, CodingKey {
            case format
            case virtualSize = "virtual-size"
        }
    }

    /// Format and size of the image at `path`. Fails for what is no qcow2 or raw image.
    static func info(_ path: String) async throws(MachineError) -> Info {
        let outcome = try await Tool.qemuImg.outcome(of: ["info", "--output=json", path])
        guard outcome.succeeded else {
            throw MachineError(
                .image, "cannot read the image \(path): \(outcome.complaint)",
                hint: "Check the path and its permissions; image.base must be a qcow2 or raw file.")
        }
        guard let info = try? JSONDecoder().decode(Info.self, from: Data(outcome.output.utf8)) else {
            throw MachineError(
                .image, "qemu-img says nothing usable about \(path)", hint: "Run `qemu-img info` on it.")
        }
        guard ["qcow2", "raw"].contains(info.format) else {
            throw MachineError(
                .image, "the image \(path) is \(info.format); qcow2 or raw was expected",
                hint: "Convert it: qemu-img convert -O qcow2 '\(path)' image.qcow2")
        }
        // Anything at all passes for raw, the page of a server's error as well; but disks have whole sectors.
        guard info.format != "raw" || info.virtualSize > 0 && isWholeSectors(path) else {
            throw MachineError(
                .image, "\(path) is not a disk image", hint: "image.base must be a qcow2 or raw file.")
        }
        return info
    }

    /// Whether the size of the file, or of a device that has none, is a multiple of 512 bytes. qemu-img rounds it.
    private static func isWholeSectors(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_size % 512 == 0
    }

    /// What an overlay without content takes: 200 KiB, and more for a large disk.
    private static let emptyOverlaySize: UInt64 = 1 << 20

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
        try MachineFiles.checkRoom(for: emptyOverlaySize, at: temporary)
        try await Tool.qemuImg.output(of: [
            "create", "-q", "-f", "qcow2", "-b", base, "-F", baseInfo.format, temporary, "\(size.bytes)",
        ])
        // The folder may have to let QEMU's user through.
        _ = chmod(temporary, 0o600)
        try MachineFiles.move(temporary, to: path)
    }

    /// The SHA-256 of a file, in lower-case hexadecimal digits.
    static func digest(_ path: String) async throws(MachineError) -> String {
        let output = try await Tool.sha256sum.output(of: ["--", path])
        // GNU marks names with odd characters by a backslash in front of the digest.
        return String(output.drop { $0 == "\\" }.prefix(64))
    }

    /// Throws unless the file at `path` has the digest `expected`.
    static func check(_ path: String, digest expected: String, source: String) async throws(MachineError) {
        let actual = try await digest(path)
        guard actual == expected else {
            throw MachineError(
                .image, "\(source) has the sha256 \(actual), but image.sha256 is \(expected)",
                hint: "If the image is the one you want, set image.sha256 to the first of these.")
        }
    }
}
