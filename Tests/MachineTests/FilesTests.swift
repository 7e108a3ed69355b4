import Glibc
import Linux
import RumConfig
import Synchronization
import TestSupport
import Testing

@testable import Machine

@Suite("The machine's files")
struct FilesTests {
    @Test(
        "Files follow RUM_HOME and RUM_CACHE, else the XDG folders, else the home folder",
        arguments: [
            (["HOME": "/h"], "/h/.local/share/rum/machines/m", "/h/.cache/rum"),
            (["HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/c"], "/d/rum/machines/m", "/c/rum"),
            (
                ["HOME": "/h", "XDG_DATA_HOME": "/d", "RUM_HOME": "/r", "RUM_CACHE": "/k"], "/r/machines/m",
                "/k"
            ),
            // The XDG specification has relative paths ignored.
            (["HOME": "/h", "XDG_DATA_HOME": "d"], "/h/.local/share/rum/machines/m", "/h/.cache/rum"),
        ])
    func places(environment: [String: String], directory: String, cache: String) {
        let files = MachineFiles(machine: "m", environment: environment, isRoot: false)
        #expect(files.directory == directory)
        #expect(files.cache == cache)
    }

    @Test("Without HOME the user database tells the home folder")
    func noHome() {
        let files = MachineFiles(machine: "m", environment: [:], isRoot: false)
        let home = getpwuid(geteuid()).map { String(cString: $0.pointee.pw_dir) }
        #expect(files.directory == (home ?? "") + "/.local/share/rum/machines/m")
    }

    @Test(
        "QEMU's log is looked for where the user's libvirt keeps it, in the cache that XDG_CACHE_HOME may move",
        arguments: [
            ("session", ["HOME": "/h"], "/h/.cache/libvirt/qemu/log/rum-m.log"),
            ("session", ["HOME": "/h", "XDG_CACHE_HOME": "/c"], "/c/libvirt/qemu/log/rum-m.log"),
            ("system", ["HOME": "/h", "XDG_CACHE_HOME": "/c"], "/var/log/libvirt/qemu/rum-m.log"),
        ])
    func qemuLog(daemon: String, environment: [String: String], log: String) {
        var config = MachineConfig(name: "m", file: "/w/rum.toml")
        config.advanced.libvirtURI = "qemu:///\(daemon)"
        #expect(VirtualMachine(config: config, agentBundle: "", environment: environment).qemuLog == log)
    }

    @Test(
        "A hint names libvirt's address where virsh would take another one",
        arguments: [
            (nil, [:], "virsh"), ("test:///default", [:], "virsh -c test:///default"),
            ("test:///default", ["LIBVIRT_DEFAULT_URI": "test:///default"], "virsh"),
            (nil, ["LIBVIRT_DEFAULT_URI": "test:///default"], "virsh"),
            (
                "test:///default",
                ["LIBVIRT_DEFAULT_URI": "test:///default", "VIRSH_DEFAULT_CONNECT_URI": "qemu:///system"],
                "virsh -c test:///default"
            ),
            (
                "qemu+unix:///system?socket=/run/l", [:],
                "virsh -c 'qemu+unix:///system?socket=/run/l'"
            ),
        ] as [(String?, [String: String], String)])
    func virsh(uri: String?, environment: [String: String], expected: String) {
        var config = MachineConfig(name: "m", file: "/w/rum.toml")
        config.advanced.libvirtURI = uri
        #expect(VirtualMachine(config: config, agentBundle: "", environment: environment).virsh == expected)
    }

    @Test("Root's files are where the system's libvirt can reach them")
    func rootPlaces() {
        let files = MachineFiles(machine: "m", environment: ["HOME": "/root"], isRoot: true)
        #expect(files.directory == "/var/lib/rum/machines/m")
        #expect(files.cache == "/var/cache/rum")
        let other = MachineFiles(
            machine: "m", environment: ["HOME": "/root", "XDG_DATA_HOME": "/d", "RUM_CACHE": "/k"],
            isRoot: true)
        #expect(other.directory == "/d/rum/machines/m")
        #expect(other.cache == "/k")
    }

    @Test("Folders and files are for their owner only")
    func modes() throws {
        let folder = try TestFolder()
        try MachineFiles.makeDirectory(folder.path + "/a/b")
        try MachineFiles.write([1, 2], to: folder.path + "/a/b/c")
        #expect(try mode(of: folder.path + "/a/b") == 0o700)
        #expect(try mode(of: folder.path + "/a/b/c") == 0o600)
    }

    @Test("A folder that cannot be made is named, with the reason and a cure")
    func unwritable() throws {
        let error = #expect(throws: MachineError.self) { try MachineFiles.makeDirectory("/proc/rum/x") }
        #expect(error?.message == "cannot create /proc/rum: No such file or directory")
        #expect(error?.hint.isEmpty == false)
        let readOnly = MachineFiles.failure("create", "/x", SystemError(code: EROFS, operation: "mkdir"))
        #expect(readOnly.hint == "Choose a place that can be written with RUM_HOME or RUM_CACHE.")
    }

    @Test("A machine's folder that somebody else could change is refused")
    func foreignFolder() throws {
        let folder = try TestFolder()
        let files = MachineFiles(machine: "m", environment: ["RUM_HOME": folder.path])
        try files.makeDirectory()
        try files.makeDirectory()
        #expect(try mode(of: files.directory) == 0o700)
        #expect(try mode(of: folder.path + "/machines") == 0o711)
        #expect(chmod(files.directory, 0o777) == 0)
        #expect(throws: MachineError.self) { try files.makeDirectory() }
        #expect(chmod(files.directory, 0o700) == 0)
        if geteuid() == 0 {
            #expect(chown(files.directory, 12345, 12345) == 0)
            let error = #expect(throws: MachineError.self) { try files.makeDirectory() }
            #expect(error?.kind == .permission)
            #expect(error?.hint.contains("RUM_HOME") == true)
        }
        #expect(rmdir(files.directory) == 0)
        #expect(symlink(folder.path, files.directory) == 0)
        #expect(throws: MachineError.self) { try files.makeDirectory() }
    }

    @Test("A path too long for sockets is told, with the lengths")
    func longPath() throws {
        func files(_ length: Int) -> MachineFiles {
            MachineFiles(machine: "m", environment: ["RUM_HOME": "/" + String(repeating: "x", count: length)])
        }
        // "/machines/m" and "/control.sock" follow.
        try files(82).checkSocketLength()
        let error = #expect(throws: MachineError.self) { try files(83).checkSocketLength() }
        #expect(error?.message.contains("108 bytes with their name, 107 at most") == true)
    }

    @Test("A record survives its file, and a damaged one says so")
    func record() throws {
        let folder = try TestFolder()
        let files = MachineFiles(machine: "m", environment: ["RUM_HOME": folder.path])
        try MachineFiles.makeDirectory(files.directory)
        #expect(try MachineRecord.load(files) == nil)
        let base = try folder.file("base.img", "x")
        var record = MachineRecord(configFile: "/a/rum.toml")
        record.base = try BaseStamp(path: base)
        try record.save(files)
        #expect(try MachineRecord.load(files) == record)
        try MachineFiles.write(Array("{".utf8), to: files.record)
        let error = #expect(throws: MachineError.self) { try MachineRecord.load(files) }
        #expect(error?.hint.contains("rum destroy") == true)
        #expect(error?.kind == .damaged)
    }

    @Test("A machine with a damaged record stays with its own libvirt")
    func damagedRecord() throws {
        let folder = try TestFolder()
        let environment = ["RUM_HOME": folder.path, "LIBVIRT_DEFAULT_URI": "qemu:///session"]
        let files = MachineFiles(machine: "m", environment: environment)
        try MachineFiles.makeDirectory(files.directory)
        var record = MachineRecord(configFile: "/a/rum.toml")
        record.libvirtURI = "test:///default"
        try record.save(files)
        try MachineFiles.write(Array("{".utf8), to: files.record)
        #expect(VirtualMachine(existing: "m", environment: environment)?.libvirtURI == "test:///default")
    }

    @Test("A base image that changed under the disk is noticed")
    func stamp() throws {
        let folder = try TestFolder()
        let stamp = try BaseStamp(path: try folder.file("base.img", "one"))
        try stamp.check()
        _ = try folder.file("base.img", "three")
        let error = #expect(throws: MachineError.self) { try stamp.check() }
        #expect(error?.kind == .image)
        #expect(error?.hint.contains("--reset") == true)
    }

    @Test("A base image may be of any year", arguments: [-62_135_596_800, 13_569_465_600, 1 << 40])
    func stampOfAnyYear(seconds: Int) throws {
        let folder = try TestFolder()
        let path = try folder.file("base.img", "one")
        var times = [timespec(tv_sec: seconds, tv_nsec: 5), timespec(tv_sec: seconds, tv_nsec: 5)]
        try #require(utimensat(AT_FDCWD, path, &times, 0) == 0)
        try BaseStamp(path: path).check()
    }

    @Test("A lock admits one at a time, and is free again when its holder removed the folder")
    func lock() async throws {
        let folder = try TestFolder()
        let path = folder.path + "/lock"
        let gauge = Gauge()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    try await FileLock.holding(path, waiting: {}) { () async throws(MachineError) in
                        gauge.enter()
                        await Task.yield()
                        // A new file, so whoever waits must not take the lock of the old one for its own.
                        unlink(path)
                        gauge.leave()
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(gauge.most == 1)
    }

    @Test("Folders and files that QEMU's user may not use are all found, and only such")
    func obstacles() throws {
        let folder = try TestFolder()
        let inner = folder.path + "/inner"
        try MachineFiles.makeDirectory(inner)
        #expect(chmod(folder.path, 0o755) == 0)
        let file = try folder.file("inner/disk")
        #expect(chmod(file, 0o600) == 0)
        let paths = [file, inner + "/not/yet/there"]
        #expect(
            PathAccess.obstacles(on: paths, for: 64055) == [
                .init(path: inner, isFolder: true, isMine: true),
                .init(path: file, isFolder: false, isMine: true),
            ])
        #expect(PathAccess.obstacles(on: paths, for: getuid()).isEmpty)
        #expect(chmod(inner, 0o711) == 0)
        #expect(
            PathAccess.obstacles(on: paths, for: 64055) == [.init(path: file, isFolder: false, isMine: true)])
        #expect(
            PathAccess.obstacles(on: paths, for: 64055).map { $0.cure(for: 64055) } == [
                "setfacl -m u:64055:r '\(file)'"
            ])
        #expect(chmod(file, 0o644) == 0)
        #expect(PathAccess.obstacles(on: paths, for: 64055).isEmpty)
    }
}

/// Counts who is inside at once.
private final class Gauge: Sendable {
    private let counts = Mutex((now: 0, most: 0))

    func enter() {
        counts.withLock { counts in
            counts.now += 1
            counts.most = max(counts.most, counts.now)
        }
    }

    func leave() { counts.withLock { $0.now -= 1 } }

    var most: Int { counts.withLock { $0.most } }
}
