import AgentChannel
import Foundation
import Glibc
import TestSupport
import Testing

@testable import Machine

/// Runs the seed's `install` on this host, with every path of the guest in a folder of its own.
@Suite("Installing from the seed")
struct InstallTests {
    let folder: TestFolder
    /// What stands for the guest's root.
    private let guest: String
    private let seedFolder: String
    private let programs: String

    private static let seed = GuestSeed(
        instanceID: "i", hostname: "dev", user: "root", authorizedKeys: ["ssh-ed25519 AAAA one"],
        listen: ["vsock"], listenWithoutVsock: ["tcp:0.0.0.0:2222"], token: "t", bundleDigest: "d",
        systemScript: nil, bootScript: nil,
        mounts: [
            .init(type: "9p", tag: "rum1", isReadOnly: true, path: "/srv/my data"),
            .init(type: "virtiofs", tag: "rum0", isReadOnly: false, path: "/srv/work"),
        ])

    init() throws {
        folder = try TestFolder()
        guest = try folder.folder("guest")
        seedFolder = try folder.folder("seed")
        programs = try folder.folder("bin")
        for place in [
            "etc", "run", "opt", "proc", "root", "srv", "var/lib",
            "sys/bus/virtio/drivers/vmw_vsock_virtio_transport",
        ] { _ = try folder.folder("guest/" + place) }
        _ = try folder.file("guest/etc/hosts", "127.0.0.1 localhost\n")
        _ = try folder.file("guest/etc/passwd", "root:x:0:0:root:\(guest)/root:/bin/sh\n")
        _ = try folder.file("guest/proc/mounts", "")
        _ = try folder.file("guest/proc/filesystems", "nodev\ttmpfs\n\tvirtiofs\n")
        for (name, body) in ["systemctl": "", "modprobe": "", "mount": "", "restorecon": ""] {
            try program(name, body)
        }
        try bundle(agent: "#!/bin/sh\n")
    }

    /// A stand-in for a program of the guest, which notes how it was called.
    private func program(_ name: String, _ body: String) throws {
        let path = try folder.file(
            "bin/" + name, "#!/bin/sh\necho \(name) \"$*\" >>\(guest)/calls\n\(body)\n")
        #expect(chmod(path, 0o755) == 0)
    }

    private func bundle(agent: String) throws {
        let place = try folder.folder("bundle")
        for name in ["rum-agent", "ld-linux-x86-64.so.2"] {
            #expect(chmod(try folder.file("bundle/" + name, agent), 0o755) == 0)
        }
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "-C", place, "-czf", seedFolder + "/rum-agent.tar.gz", "."]
        try tar.run()
        tar.waitUntilExit()
    }

    /// Runs `install` of `seed`; what the console shows, and how it ended.
    private func install(
        _ seed: GuestSeed = seed, path: String? = nil
    ) async throws -> (console: [String], succeeded: Bool) {
        try await install(files: seed.files, path: path)
    }

    private func install(
        files: [String: String], path: String? = nil
    ) async throws -> (console: [String], succeeded: Bool) {
        for (name, content) in files {
            var text = content
            if !["user", "token", "authorized_keys", "mounts", "listen", "listen-without-vsock"].contains(
                name)
            {
                for place in [
                    "/etc/", "/opt/rum", "/var/lib/rum", "/usr/local/lib/rum", "/run/", "/proc/", "/sys/",
                    "/sbin/openrc-run",
                ] { text = text.replacing(place, with: guest + place) }
                text = text.replacing("/dev/console", with: guest + "/console")
                    .replacing("/dev/ttyS0", with: guest + "/ttyS0").replacing("tries=600", with: "tries=1")
            } else if name == "mounts" {
                text = text.replacing("/srv", with: guest + "/srv")
            }
            _ = try folder.file("seed/" + name, text)
        }
        try? FileManager.default.removeItem(atPath: guest + "/console")
        // The console is a device: it is not cut short by each line.
        let console = open(guest + "/console", O_CREAT | O_WRONLY, 0o600)
        close(console)
        let outcome = try await Tool(name: "env", package: "coreutils").outcome(of: [
            "PATH=\(path ?? "\(programs):/usr/bin:/bin:/usr/sbin:/sbin")", "sh", seedFolder + "/install",
        ])
        let lines = try readText(guest + "/console").split(separator: "\n").map(String.init)
        return (lines, outcome.succeeded)
    }

    private func calls() -> [String] {
        ((try? readText(guest + "/calls")) ?? "").split(separator: "\n").map(String.init)
    }

    @Test("Everything is put in place, and the console tells beginning and end")
    func systemd() async throws {
        try "virtiofs\n9p\n".write(toFile: guest + "/proc/filesystems", atomically: true, encoding: .utf8)
        let (console, succeeded) = try await install()
        #expect(succeeded)
        #expect(console == ["rum-install: begins", "rum-install: done"])
        let unit = try readText(guest + "/etc/systemd/system/rum-agent.service")
        #expect(unit.contains("ExecStart=\(guest)/opt/rum/rum-agent --listen vsock --token-file"))
        // At later boots the agent starts before cloud-init, and mounts the folders unless that is done.
        let mark = guest + "/run/rum/folders-mounted"
        #expect(unit.contains("[ -e \(mark) ] || sh \(guest)/var/lib/rum/read-seed mount-folders"))
        #expect(FileManager.default.fileExists(atPath: mark))
        #expect(calls().contains("systemctl restart --no-block rum-agent.service"))
        #expect(calls().contains("mount -t virtiofs -o rw rum0 \(guest)/srv/work"))
        #expect(
            calls().contains(
                "mount -t 9p -o ro,trans=virtio,version=9p2000.L,cache=mmap,msize=262144 rum1 \(guest)/srv/my data"
            ))
        #expect(try readText(guest + "/root/.ssh/authorized_keys") == "ssh-ed25519 AAAA one\n")
        // A second time nothing changes, so nothing is started again.
        try FileManager.default.removeItem(atPath: guest + "/calls")
        #expect(try await install().succeeded)
        #expect(!calls().contains { $0.contains("restart") })
    }

    @Test("A folder whose file system the kernel lacks is told, and keeps nothing else from it")
    func missingFileSystem() async throws {
        let (console, succeeded) = try await install()
        #expect(succeeded)
        #expect(
            console.contains {
                $0.hasPrefix(
                    "rum-install: warning: the folder \(guest)/srv/my data is not mounted: the guest's kernel ("
                )
                    && $0.hasSuffix(") has no 9p")
            }, "\(console)")
        #expect(calls().contains("mount -t virtiofs -o rw rum0 \(guest)/srv/work"))
        #expect(!FileManager.default.fileExists(atPath: guest + "/run/rum/folders-mounted"))
        #expect(console.last == "rum-install: done")
    }

    @Test("A folder that is mounted already is not mounted again")
    func mountedAlready() async throws {
        try "rum0 \(guest)/srv/work virtiofs rw 0 0\nrum1 \(guest)/srv/my\\040data 9p ro 0 0\n".write(
            toFile: guest + "/proc/mounts", atomically: true, encoding: .utf8)
        #expect(try await install().succeeded)
        #expect(!calls().contains { $0.hasPrefix("mount ") })
    }

    @Test("A guest without vsock gets an agent that listens on tcp, and tells the host")
    func noVsock() async throws {
        try FileManager.default.removeItem(
            atPath: guest + "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport")
        let (console, _) = try await install()
        #expect(console.contains("rum-install: no vsock"))
        let unit = try readText(guest + "/etc/systemd/system/rum-agent.service")
        #expect(unit.contains("rum-agent --listen tcp:0.0.0.0:2222 --token-file"))
    }

    @Test("A guest without vsock tells that rum.toml allows nothing else")
    func onlyVsock() async throws {
        try FileManager.default.removeItem(
            atPath: guest + "/sys/bus/virtio/drivers/vmw_vsock_virtio_transport")
        var seed = Self.seed
        seed.listenWithoutVsock = nil
        let (console, succeeded) = try await install(seed)
        #expect(succeeded)
        #expect(
            console.contains {
                $0.hasPrefix("rum-install: warning: the guest's kernel (")
                    && $0.hasSuffix(") has no vsock, and rum.toml allows no other channel (advanced.channel)")
            }, "\(console)")
        let unit = try readText(guest + "/etc/systemd/system/rum-agent.service")
        #expect(unit.contains("rum-agent --listen vsock --token-file"))
    }

    @Test(
        "What comes over ssh is the agent and its service alone, on loopback; another token starts it again")
    func kit() async throws {
        var kit = AgentKit(token: .random(), bundleDigest: "d")
        #expect(try await install(files: kit.files).console == ["rum-install: begins", "rum-install: done"])
        let unit = try readText(guest + "/etc/systemd/system/rum-agent.service")
        #expect(unit.contains("rum-agent --listen tcp:127.0.0.1:2222 --token-file"))
        #expect(!unit.contains("console") && !unit.contains("read-seed"))
        #expect(try readText(guest + "/etc/rum/token") == kit.token.text + "\n")
        #expect(try FileManager.default.contentsOfDirectory(atPath: guest + "/var/lib/rum").isEmpty)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: guest + "/etc/systemd/system").sorted() == [
                "multi-user.target.wants", "rum-agent.service",
            ])
        #expect(try readText(guest + "/etc/hosts") == "127.0.0.1 localhost\n")
        let restart = "systemctl restart --no-block rum-agent.service"
        var restarts: [String] { calls().filter { $0.hasPrefix("systemctl") } }
        #expect(restarts == [restart])
        _ = try await install(files: kit.files)
        #expect(restarts == [restart])
        kit.token = .random()
        _ = try await install(files: kit.files)
        #expect(restarts == [restart, restart])
    }

    @Test("With /opt read-only the agent lives elsewhere, and is run by its own loader")
    func readOnlyOpt() async throws {
        _ = try FileManager.default.removeItem(atPath: guest + "/opt")
        _ = try folder.file("guest/opt", "no folder")
        #expect(try await install().succeeded)
        let place = guest + "/var/lib/rum/agent"
        let unit = try readText(guest + "/etc/systemd/system/rum-agent.service")
        #expect(unit.contains("ExecStart=\(place)/ld-linux-x86-64.so.2 \(place)/rum-agent --listen vsock"))
        #expect(MachineFiles.exists(place + "/rum-agent"))
    }

    @Test("A step that fails is told with its words")
    func failure() async throws {
        _ = try folder.file("seed/rum-agent.tar.gz", "no archive")
        let (console, succeeded) = try await install()
        #expect(!succeeded)
        #expect(console.first == "rum-install: begins")
        #expect(console.last?.hasPrefix("rum-install: failed at \"tar -xzf ") == true, "\(console)")
        #expect(!MachineFiles.exists(guest + "/opt/rum/bundle.sha256"))
    }

    @Test("Keys that rum.toml has no more go, and those from elsewhere stay")
    func keys() async throws {
        #expect(try await install().succeeded)
        let path = guest + "/root/.ssh/authorized_keys"
        try (try readText(path) + "ssh-rsa BBBB other\n").write(
            toFile: path, atomically: true, encoding: .utf8)
        var seed = Self.seed
        seed.authorizedKeys = ["ssh-ed25519 CCCC two"]
        #expect(try await install(seed).succeeded)
        #expect(try readText(path) == "ssh-rsa BBBB other\nssh-ed25519 CCCC two\n")
        #expect(try mode(of: path) == 0o600)
        seed.authorizedKeys = []
        #expect(try await install(seed).succeeded)
        #expect(try readText(path) == "ssh-rsa BBBB other\n")
    }

    @Test("Without systemd an init script keeps the agent running, and is found by sysvinit and OpenRC")
    func otherInit() async throws {
        // A PATH without systemctl.
        let tools = try folder.folder("tools")
        for name in try FileManager.default.contentsOfDirectory(atPath: "/usr/bin") where name != "systemctl"
        {
            symlink("/usr/bin/" + name, "\(tools)/\(name)")
        }
        try FileManager.default.removeItem(atPath: programs + "/systemctl")
        for name in ["update-rc.d", "rc-update"] { try program(name, "") }
        try bundle(agent: "#!/bin/sh\necho \"$0 $*\" >>\(guest)/agent\n")
        // Its sshd has a key of its own.
        _ = try folder.file("guest/etc/ssh/ssh_host_ed25519_key", "old\n")
        let sshd = try folder.file("guest/etc/init.d/ssh", "#!/bin/sh\necho sshd $1 >>\(guest)/calls\n")
        #expect(chmod(sshd, 0o755) == 0)
        var seed = Self.seed
        seed.hostKey = SSHKeys.Host(privateKey: "new\n", publicKey: "public\n")
        #expect(try await install(seed, path: "\(programs):\(tools)").succeeded)
        #expect(calls().filter { $0.hasPrefix("sshd") } == ["sshd restart"])
        let service = guest + "/var/lib/rum/agent-service"
        let shell = Tool(name: "sh", package: "dash")
        #expect(try await shell.outcome(of: [service, "status"]).succeeded)
        let expected = """
            \(guest)/opt/rum/rum-agent --listen vsock --token-file \(guest)/etc/rum/token \
            --ports-file \(guest)/run/rum/ports.json
            """
        // It ends at once, and is started again.
        func starts() -> Int {
            ((try? readText(guest + "/agent")) ?? "").split(separator: "\n").count { $0 == expected }
        }
        try? await eventually { starts() >= 2 }
        // Also where it was not, else the script would go on.
        try await shell.output(of: [service, "stop"])
        #expect(starts() >= 2)
        #expect(try await !shell.outcome(of: [service, "status"]).succeeded)
        #expect(calls().contains("update-rc.d rum-agent defaults"))

        _ = try folder.folder("guest/sbin")
        #expect(chmod(try folder.file("guest/sbin/openrc-run"), 0o755) == 0)
        #expect(try await install(path: "\(programs):\(tools)").succeeded)
        try await shell.output(of: [service, "stop"])
        #expect(calls().contains("rc-update add rum-agent default"))
        #expect(try readText(guest + "/etc/init.d/rum-agent").contains("after localmount"))
    }
}
