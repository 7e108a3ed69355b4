import Foundation
import RumConfig
import Synchronization
import TestSupport
import Testing

@testable import Machine

/// Keeps the sentences of the steps.
private final class Steps: Sendable {
    private let sentences = Mutex<[String]>([])

    var progress: MachineProgress { { step in self.sentences.withLock { $0.append(step.sentence) } } }
    var all: [String] { sentences.withLock { $0 } }
}

@Suite("Base images")
struct ImageTests {
    let folder: TestFolder
    private let steps = Steps()
    var cache: ImageCache { ImageCache(directory: folder.path + "/cache", progress: steps.progress) }

    init() throws { folder = try TestFolder() }

    /// A small disk to download, and its SHA-256.
    private func source() async throws -> (path: String, digest: String) {
        let path = try write(sampleDisk(), to: folder.path + "/image.raw")
        return (path, try await ImageDigest.digits(of: path))
    }

    @Test("A URL is downloaded once, and checked")
    func download() async throws {
        let (source, contentDigest) = try await source()
        let image = MachineConfig.Image(base: .url("file://" + source), sha256: contentDigest)
        let base = try await cache.resolve(image)
        #expect(try bytes(of: base.path) == sampleDisk())
        #expect(
            steps.all == [
                "Downloading file://\(source)", "Checking the image's sha256", "Checking the image",
            ])
        // The source is gone, the copy stays.
        try MachineFiles.remove(source)
        #expect(try await cache.resolve(image) == base)
    }

    @Test("Two downloads of one image at the same time share one transfer")
    func together() async throws {
        let (source, _) = try await source()
        let cache = cache
        let image = MachineConfig.Image(base: .url("file://" + source))
        async let first = cache.resolve(image)
        async let second = cache.resolve(image)
        #expect(try await first == second)
        #expect(steps.all.count { $0.hasPrefix("Downloading") } == 1)
    }

    @Test("What an interrupted download left is continued where a digest can prove the result")
    func resume() async throws {
        let (source, contentDigest) = try await source()
        let image = MachineConfig.Image(base: .url("file://" + source), sha256: contentDigest)
        let path = cache.location(of: "file://" + source, digest: ImageDigest(contentDigest))
        try MachineFiles.makeDirectory(folder.path + "/cache")
        try MachineFiles.write(Array(sampleDisk().prefix(4096)), to: path + ".part")
        #expect(try bytes(of: try await cache.resolve(image).path) == sampleDisk())
    }

    @Test("A leftover that does not fit is thrown away and the download repeated")
    func badLeftover() async throws {
        let (source, contentDigest) = try await source()
        let image = MachineConfig.Image(base: .url("file://" + source), sha256: contentDigest)
        let path = cache.location(of: "file://" + source, digest: ImageDigest(contentDigest))
        try MachineFiles.makeDirectory(folder.path + "/cache")
        try MachineFiles.write(Array("old ".utf8), to: path + ".part")
        #expect(try bytes(of: try await cache.resolve(image).path) == sampleDisk())
    }

    @Test("A wrong digest is told with both values and keeps nothing")
    func wrongDigest() async throws {
        let (source, contentDigest) = try await source()
        let wrong = String(repeating: "0", count: 64)
        let image = MachineConfig.Image(base: .url("file://" + source), sha256: wrong)
        let error = await #expect(throws: MachineError.self) { try await cache.resolve(image) }
        #expect(
            error?.message == "file://\(source) has the sha256 \(contentDigest), but image.sha256 is \(wrong)"
        )
        let path = cache.location(of: "file://" + source, digest: ImageDigest(wrong))
        #expect(!MachineFiles.exists(path))
        #expect(!MachineFiles.exists(path + ".part"))
    }

    @Test("A server that cannot be reached is told as such")
    func offline() async throws {
        let image = MachineConfig.Image(base: .url("http://127.0.0.1:1/x.img"))
        let error = await #expect(throws: MachineError.self) { try await cache.resolve(image) }
        #expect(error?.message.hasPrefix("cannot download http://127.0.0.1:1/x.img: ") == true)
        #expect(error?.hint.hasPrefix("Check the network") == true)
    }

    @Test("The length of a download is that of the last response")
    func contentLength() throws {
        let headers = try folder.file(
            "headers",
            "HTTP/1.1 302 Found\r\nContent-Length: 5\r\n\r\nHTTP/2 200\r\ncontent-length: 1234\r\n\r\n")
        #expect(ImageDownload.contentLength(headers) == 1234)
        #expect(ImageDownload.contentLength(folder.path + "/none") == nil)
    }

    @Test(
        "How far a download is, whatever length the server claims",
        arguments: [
            ("75", 0.5), ("25", 1), ("0", 1), ("-100", 1), ("\(Int.max)", 0), ("\(Int.min)", 1),
            ("99999999999999999999", nil), ("x", nil),
        ] as [(String, Double?)])
    func fraction(length: String, expected: Double?) throws {
        let headers = try folder.file(
            "headers", "HTTP/1.1 206 Partial Content\r\nContent-Length: \(length)\r\n\r\n")
        let fraction = ImageDownload.fraction(of: headers, size: 50, start: 25)
        #expect(fraction.map { ($0 * 1000).rounded() / 1000 } == expected)
    }

    @Test("A disk is a thin layer on its base")
    func overlay() async throws {
        let base = try write(sampleDisk(mebibytes: 32), to: folder.path + "/base.img")
        let info = try DiskImage.info(base)
        #expect(info == DiskImage.Info(format: .raw, virtualSize: 32 << 20))
        let disk = folder.path + "/disk.qcow2"
        try await DiskImage.createOverlay(disk, base: base, baseInfo: info, size: ByteSize(bytes: 64 << 20))
        #expect(try DiskImage.virtualSize(ofDisk: disk) == 64 << 20)
        #expect(try mode(of: disk) == 0o600)
        let error = await #expect(throws: MachineError.self) {
            try await DiskImage.createOverlay(
                disk + "2", base: base, baseInfo: info, size: ByteSize(bytes: 16 << 20))
        }
        #expect(error?.message == "resources.disk is 16M, but the image \(base) needs 32M")
    }

    @Test("An image of another kind is refused with the cure")
    func otherFormat() async throws {
        let image = folder.path + "/base.vmdk"
        try await Tool.qemuImg.output(of: ["create", "-q", "-f", "vmdk", image, "16M"])
        let error = #expect(throws: MachineError.self) { try DiskImage.info(image) }
        #expect(error?.hint.hasPrefix("Convert it: qemu-img convert") == true)
    }

    @Test(
        "A URL is shown without what may be secret in it",
        arguments: [
            ("https://me:secret@host/a/b.img?token=x#y", "https://host/a/b.img"),
            ("http://host", "http://host"),
            ("https://a@b@host:1/x@y", "https://host:1/x@y"), ("http://me:secret@host?x", "http://host"),
        ])
    func shownURL(url: String, expected: String) {
        #expect(ImageDownload.shown(url) == expected)
    }

    @Test("A disk stands on a file in the machine's folder, so that the cache can be cleared")
    func ownBase() async throws {
        let (source, _) = try await source()
        var config = MachineConfig(name: "m", file: "rum.toml")
        config.image = .init(base: .url("file://" + source))
        config.resources.disk = ByteSize(bytes: 64 << 20)
        let files = MachineFiles(
            machine: "m",
            environment: ["RUM_HOME": folder.path + "/home", "RUM_CACHE": folder.path + "/cache"])
        try files.makeDirectory()
        let disk = RootDisk(config: config, files: files) { _ in }
        var record = MachineRecord(configFile: "rum.toml")
        try await disk.replace(&record)
        let first = try #require(record.base?.path)
        #expect(first.hasPrefix(files.directory + "/"))
        try MachineFiles.remove(folder.path + "/cache")
        try record.base?.check()
        try await Tool.qemuImg.output(of: ["check", "-q", files.disk])
        func bases() throws -> [String] {
            try FileManager.default.contentsOfDirectory(atPath: files.directory)
                .filter { $0.hasPrefix("base-") }.map { files.directory + "/" + $0 }
        }
        // Neither does a reset that fails leave one of the disk that was not made, nor one that succeeds that before.
        var small = config
        small.resources.disk = ByteSize(bytes: 512)
        let tooSmall = RootDisk(config: small, files: files) { _ in }
        await #expect(throws: MachineError.self) { try await tooSmall.replace(&record) }
        #expect(try bases() == [first])
        // The record of a start that was killed does not know what the disk stands on.
        var unaware = MachineRecord(configFile: "rum.toml")
        await #expect(throws: MachineError.self) { try await tooSmall.replace(&unaware) }
        #expect(try bases() == [first])
        try await disk.replace(&record)
        #expect(record.base?.path != first)
        #expect(try bases() == [record.base?.path])
        try record.base?.check()
    }

    @Test("A program that is missing is named with its package")
    func missingTool() async {
        let tool = Tool(name: "rum-no-such-tool", package: "some-package")
        let error = await #expect(throws: MachineError.self) { try await tool.output(of: []) }
        #expect(error?.kind == .missingTool)
        #expect(error?.hint.contains("apt install some-package") == true)
        #expect(await Tool.missing(of: [.qemuImg, tool, .curl]) == [tool])
    }

    @Test("A seed image holds its files and the bundle, under the label that cloud-init looks for")
    func seedImage() async throws {
        let seed = GuestSeed(
            instanceID: "i", hostname: "h", user: "rum", authorizedKeys: [], listen: ["vsock"], token: "t",
            bundleDigest: "d", systemScript: nil, bootScript: nil)
        let bundle = try folder.file("odd=name.tar.gz", "bundle")
        let image = folder.path + "/seed.iso"
        try await SeedImage.write(seed, bundle: bundle, to: image)
        try await SeedImage.write(seed, bundle: bundle, to: image)
        let listing = try await Tool.xorriso.output(of: ["-indev", image, "-find", "/", "-type", "f"])
        let names = Set(listing.split(separator: "\n").map { $0.filter { $0 != "'" } })
        #expect(names == Set(seed.files.keys.map { "/\($0)" } + ["/rum-agent.tar.gz"]))
        let volume = try await Tool.xorriso.outcome(of: ["-indev", image, "-pvd_info"]).output
        #expect(volume.contains("Volume Id    : CIDATA"))
        #expect(try mode(of: image) == 0o600)
        #expect(!MachineFiles.exists(image + ".d"))
    }
}
