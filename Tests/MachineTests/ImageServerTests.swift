import Foundation
import RumConfig
import Synchronization
import TestSupport
import Testing

@testable import Machine

/// Downloads from a server that has ranges, breaks off, and lies.
@Suite("Images from a server")
struct ImageServerTests {
    let folder: TestFolder
    let server: ImageServer
    private let debian: NamedImage
    /// Where the server has the image that stands for `debian`.
    private let place: String

    init() throws {
        folder = try TestFolder()
        server = try ImageServer(folder)
        debian = try #require(NamedImage.named("debian-12"))
        place = try folder.folder("cloud.debian.org/images/cloud/bookworm/latest")
    }

    private func cache(_ mirror: String = "", _ progress: @escaping MachineProgress = { _ in }) -> ImageCache
    {
        ImageCache(directory: folder.path + "/cache", progress: progress, mirror: server.base + mirror)
    }

    /// Puts an image on the server, with its makers' list of checksums.
    private func publish(_ bytes: [UInt8] = sampleDisk(), sum: String? = nil) async throws {
        let path = try write(bytes, to: place + "/debian-12-generic-amd64.qcow2")
        let output = try await Tool.sha512sum.output(of: ["--", path])
        let other = String(repeating: "1", count: 128)
        _ = try write(
            Array(
                "\(other)  debian-12-generic-arm64.qcow2\n\(sum ?? String(output.prefix(128)))  debian-12-generic-amd64.qcow2\n"
                    .utf8), to: place + "/SHA512SUMS")
    }

    private var named: MachineConfig.Image { .init(base: .named(debian)) }

    @Test("A name is looked up, checked against its makers' list, and downloaded once")
    func byName() async throws {
        try await publish()
        let base = try await cache().resolve(named)
        #expect(try bytes(of: base.path) == sampleDisk())
        #expect(try await cache().resolve(named) == base)
        let image = "/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2"
        #expect(try server.requests().filter { $0.hasSuffix(image) }.count == 1)
        let held = CachedImage.all(in: folder.path + "/cache").filter(\.isImage)
        #expect(held.map(\.imageName) == ["debian-12"])
    }

    @Test(
        "A new version on the server is a new download; without a network the cached one serves, and that is told"
    )
    func newVersion() async throws {
        try await publish()
        let old = try await cache().resolve(named)
        try await publish(sampleDisk(mebibytes: 2))
        let new = try await cache().resolve(named)
        #expect(new.path != old.path)
        // The newest is told by its time of modification, in seconds.
        try FileManager.default.setAttributes([.modificationDate: Date.distantPast], ofItemAtPath: old.path)
        let told = Mutex<[String]>([])
        let offline = ImageCache(
            directory: folder.path + "/cache",
            progress: { step in told.withLock { $0.append(step.sentence) } },
            mirror: "http://127.0.0.1:1")
        #expect(try await offline.resolve(named) == new)
        #expect(told.withLock { $0 }.contains { $0.hasSuffix("using the debian-12 that is cached") })
    }

    @Test("A transfer that breaks off is continued where it ended, and is right afterwards")
    func brokenOff() async throws {
        try await publish()
        let digest = try await ImageDigest.digits(of: place + "/debian-12-generic-amd64.qcow2")
        let url =
            "\(server.base)/cut/700000/cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2"
        let image = MachineConfig.Image(base: .url(url), sha256: digest)
        let error = await #expect(throws: MachineError.self) { try await cache().resolve(image) }
        #expect(error?.hint.contains("continue") == true)
        let base = try await cache().resolve(image)
        #expect(try bytes(of: base.path) == sampleDisk())
        #expect(try server.requests().last?.hasSuffix(" bytes=700000-") == true)
    }

    @Test("A transfer that breaks off without a digest starts again")
    func brokenOffUnknown() async throws {
        try await publish()
        let url =
            "\(server.base)/cut/1000/cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2"
        await #expect(throws: MachineError.self) { try await cache().resolve(.init(base: .url(url))) }
        await #expect(throws: MachineError.self) { try await cache().resolve(.init(base: .url(url))) }
        #expect(try server.requests().allSatisfy { !$0.contains("bytes=") })
    }

    @Test("A server without ranges gets a second full request")
    func noRanges() async throws {
        try await publish()
        let file = "cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2"
        let digest = try await ImageDigest.digits(of: folder.path + "/" + file)
        let image = MachineConfig.Image(base: .url("\(server.base)/plain/\(file)"), sha256: digest)
        let cache = cache()
        guard case .url(let url) = image.base else { return }
        try MachineFiles.makeDirectory(folder.path + "/cache")
        try MachineFiles.write(
            [1, 2, 3], to: cache.location(of: url, digest: ImageDigest(digest)) + ".part")
        #expect(try bytes(of: try await cache.resolve(image).path) == sampleDisk())
    }

    @Test("An image that is not what its makers' list says is not used")
    func wrongSum() async throws {
        let wrong = String(repeating: "a", count: 128)
        try await publish(sum: wrong)
        let error = await #expect(throws: MachineError.self) { try await cache().resolve(named) }
        #expect(error?.kind == .image)
        #expect(error?.message.contains("but the sha512 its makers publish is \(wrong)") == true)
        #expect(CachedImage.all(in: folder.path + "/cache").allSatisfy { $0.path.hasSuffix(".lock") })
    }

    @Test("A list without the image, and a server without the list, are told")
    func noSum() async throws {
        let missing = await #expect(throws: MachineError.self) { try await cache().resolve(named) }
        #expect(missing?.message.contains("SHA512SUMS") == true)
        _ = try write(Array("nothing\n".utf8), to: place + "/SHA512SUMS")
        let empty = await #expect(throws: MachineError.self) { try await cache().resolve(named) }
        #expect(empty?.message.hasSuffix("has no checksum of debian-12-generic-amd64.qcow2") == true)
    }

    @Test("Pruning leaves a download that runs alone, and what machines stand on")
    func prune() async throws {
        try await publish()
        let base = try await cache().resolve(named)
        let own = folder.path + "/machine.img"
        try await MachineFiles.link(base.path, to: own)
        let slow =
            "\(server.base)/slow/cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2"
        let slowCache = cache()
        // The cache's folder is the one that the command finds.
        let environment = ["RUM_CACHE": folder.path + "/xdg", "HOME": folder.path]
        _ = try folder.folder("xdg")
        #expect(symlink(folder.path + "/cache", folder.path + "/xdg/images") == 0)
        async let download = slowCache.resolve(.init(base: .url(slow)))
        try await eventually("it is asked for") {
            try server.requests().contains { $0.hasPrefix("/slow/") }
        }
        let removed = try CachedImage.prune(environment: environment)
        #expect(
            removed.map(\.path).map { ($0 as NSString).lastPathComponent }.contains(
                (base.path as NSString).lastPathComponent))
        #expect(removed.allSatisfy { $0.isInUse == ($0.imageName != nil) })
        #expect(!MachineFiles.exists(base.path))
        #expect(try bytes(of: own) == sampleDisk())
        _ = try folder.file("go")
        #expect(try bytes(of: try await download.path) == sampleDisk())
        #expect(try CachedImage.prune(environment: environment).count == 1)
        #expect(CachedImage.all(in: folder.path + "/cache").isEmpty)
    }

    @Test(
        "The makers' lists of checksums are read in all their forms",
        arguments: [
            "%D  a.qcow2\n%E  b.qcow2", "%D *a.qcow2", "SHA256 (a.qcow2) = %D", "%D",
            "# a.qcow2: 12 bytes\nSHA256 (a.qcow2) = %D\n", "%D  ./a.qcow2",
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSHA256 (b.qcow2) = %E\nSHA256 (a.qcow2) = %D",
        ])
    func lists(text: String) {
        let digest = String(repeating: "0123456789ABCDEF", count: 4)
        let list = text.replacing("%D", with: digest).replacing("%E", with: String(repeating: "e", count: 64))
        #expect(ImageDigest.find("a.qcow2", in: list)?.text == digest.lowercased())
        if text != "%D" { #expect(ImageDigest.find("c.qcow2", in: list) == nil) }
    }

    @Test("An archive made to fill the disk is stopped at its limit, and told")
    func bomb() async throws {
        let target = folder.path + "/out"
        await #expect(throws: MachineError.self) {
            try await Tool(name: "cat", package: "coreutils").write(
                output: ["/dev/zero"], to: target, atMost: 1 << 20)
        }
        #expect(MachineFiles.size(of: target) == 1 << 20)
        #expect(MachineLimits.unpackedSize(of: 1000) == 8 << 30)
        #expect(MachineLimits.unpackedSize(of: 1 << 30) == 64 << 30)
    }
}
