import Foundation
import Glibc
import RumConfig
import TestSupport
import Testing

@testable import Machine

@Suite("What a base image must not be")
struct ImageContentTests {
    let folder: TestFolder

    init() throws { folder = try TestFolder() }

    /// What is said about the file; nil when it is a usable image.
    private func fault(_ path: String) async -> MachineError? {
        do throws(MachineError) {
            try await DiskImage.checkWhole(path, try DiskImage.info(path))
            return nil
        } catch {
            return error
        }
    }

    private func qemuImg(_ arguments: String...) async throws {
        try await Tool.qemuImg.output(of: arguments)
    }

    @Test("A layer on another file is refused, whatever file that is")
    func backingFile() async throws {
        let secret = try write(sampleDisk(), to: folder.path + "/secret")
        let image = folder.path + "/layer.qcow2"
        try await qemuImg("create", "-q", "-f", "qcow2", "-b", secret, "-F", "raw", image)
        #expect(await fault(image)?.message.contains("only a layer on top of another file") == true)
        // Older qcow2 has the same field.
        let old = folder.path + "/old.qcow2"
        try await qemuImg("create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-b", secret, "-F", "raw", old)
        #expect(await fault(old)?.message.contains("only a layer on top of another file") == true)
    }

    @Test("An image whose data is in another file is refused, by the feature bit and by the name alone")
    func dataFile() async throws {
        let image = folder.path + "/image.qcow2"
        try await qemuImg(
            "create", "-q", "-f", "qcow2", "-o", "data_file=\(folder.path)/data,data_file_raw=on", image, "1M"
        )
        #expect(await fault(image)?.message.contains("keeps its data in another file") == true)
        var header = try bytes(of: image)
        header[79] = 0
        _ = try write(header, to: image)
        #expect(await fault(image)?.message.contains("keeps its data in another file") == true)
    }

    @Test("An encrypted image is refused")
    func encrypted() async throws {
        let image = folder.path + "/image.qcow2"
        try await qemuImg("create", "-q", "-f", "qcow2", image, "1M")
        var header = try bytes(of: image)
        header[35] = 2
        _ = try write(header, to: image)
        #expect(await fault(image)?.message.hasSuffix("is encrypted") == true)
    }

    @Test("A FIFO, a device and a folder are refused at once", .timeLimit(.minutes(1)))
    func notRegular() async throws {
        let pipe = folder.path + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        for path in [pipe, "/dev/zero", folder.path] {
            #expect(await fault(path)?.message == "\(path) is not a disk image: it is no regular file")
        }
    }

    @Test("Noise, text and nothing are no disks")
    func noise() async throws {
        var noise = SeededGenerator(seed: 0)
        let files: [(String, [UInt8], String)] = [
            (
                "noise", (0..<1 << 20).map { _ in UInt8.random(in: 1...9, using: &noise) },
                "is not a disk image"
            ),
            ("zeros", [UInt8](repeating: 0, count: 1 << 20), "is not a disk image"),
            ("empty", [], "is empty"),
            ("page", Array("\n  <!DOCTYPE html><title>Welcome to our network</title>".utf8), "is a web page"),
            ("archive", [UInt8](repeating: 0, count: 257) + Array("ustar".utf8), "is a tar archive"),
            ("other", Array("KDMV".utf8) + sampleDisk(), "is vmdk; qcow2 or raw was expected"),
        ]
        for (name, content, expected) in files {
            let path = try write(content, to: "\(folder.path)/\(name)")
            #expect(await fault(path)?.message.contains(expected) == true, "\(name)")
        }
    }

    @Test("Disks with a partition table or a file system are taken, and only when they are whole")
    func rawDisks() async throws {
        let whole = sampleDisk(mebibytes: 2)
        #expect(await fault(try write(whole, to: folder.path + "/mbr")) == nil)
        #expect(
            await fault(try write(Array(whole.dropLast(512)), to: folder.path + "/cut"))?.message
                .hasSuffix("is cut off: it should have at least 2097152 bytes and has 2096640") == true)
        var guid = sampleDisk()
        guid.replaceSubrange(512..<520, with: Array("EFI PART".utf8))
        guid.replaceSubrange(544..<552, with: [0xff, 7, 0, 0, 0, 0, 0, 0])
        #expect(await fault(try write(guid, to: folder.path + "/gpt")) == nil)
        #expect(
            await fault(try write(Array(guid.dropLast(4096)), to: folder.path + "/gptcut"))?.message
                .contains("is cut off") == true)
        let system = folder.path + "/ext4"
        _ = try write([UInt8](repeating: 0, count: 1 << 20), to: system)
        try await Tool(name: "mkfs.ext4", package: "e2fsprogs").output(of: ["-q", system])
        #expect(await fault(system) == nil)
        #expect(truncate(system, 1 << 19) == 0)
        #expect(await fault(system)?.message.contains("is cut off") == true)
    }

    @Test("A qcow2 image of which the end is missing is refused, wherever it ends")
    func truncatedQcow2() async throws {
        let disk = try write(sampleDisk(mebibytes: 2), to: folder.path + "/disk.raw")
        let image = folder.path + "/image.qcow2"
        for options in [[], ["-c"]] {
            try await Tool.qemuImg.output(
                of: ["convert"] + options + ["-f", "raw", "-O", "qcow2", disk, image])
            #expect(await fault(image) == nil)
            let content = try bytes(of: image)
            for size in [3, 80, 65536, content.count / 2] {
                let cut = try write(Array(content.prefix(size)), to: folder.path + "/cut.qcow2")
                #expect(await fault(cut) != nil, "cut to \(size) of \(content.count)")
            }
        }
    }

    @Test("No header crashes the reader")
    func mutations() async throws {
        let image = folder.path + "/image.qcow2"
        try await qemuImg("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", image, "1M")
        let original = Array(try bytes(of: image).prefix(1024))
        for offset in 0..<256 {
            for byte: UInt8 in [0, 1, 0x7f, 0x80, 0xff] {
                var changed = original
                changed[offset] = byte
                _ = try? ImageContent(head: changed, fileSize: 1 << 20)
            }
        }
        for length in 0..<256 {
            _ = try? ImageContent(head: Array(original.prefix(length)), fileSize: 1 << 20)
        }
        let noisy = [UInt8](repeating: 0xff, count: 1 << 16)
        _ = try? ImageContent(head: Array(original.prefix(104)) + noisy, fileSize: .max)
        _ = try? ImageContent(head: noisy, fileSize: .max)
    }

    @Test("A packed image is unpacked and checked, then cached", arguments: ["gzip", "xz", "zstd"])
    func packed(tool: String) async throws {
        let disk = try write(sampleDisk(), to: folder.path + "/disk.raw")
        let packed = folder.path + "/image"
        try await Tool(name: tool, package: tool).write(output: ["-c", disk], to: packed)
        let cache = ImageCache(directory: folder.path + "/cache") { _ in }
        for base in [MachineConfig.Image.Source.path(packed), .url("file://" + packed)] {
            let resolved = try await cache.resolve(.init(base: base))
            #expect(resolved.path.hasPrefix(folder.path + "/cache/"))
            #expect(try bytes(of: resolved.path) == sampleDisk())
            #expect(resolved.info.format == .raw)
        }
        let content = try bytes(of: packed)
        _ = try write(Array(content.dropLast(10)), to: packed)
        let error = await #expect(throws: MachineError.self) {
            try await cache.resolve(.init(base: .path(packed)))
        }
        #expect(error?.message.contains("cannot be unpacked") == true)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path + "/cache").count {
                !$0.hasSuffix(".lock")
            } == 2)
    }
}
