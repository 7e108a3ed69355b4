import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import Synchronization
import TestSupport
import Testing

/// What the commands about machines say and leave behind when something is wrong; no guest boots here.
@Suite("The machine commands on bad input and faults", .timeLimit(.minutes(1)))
struct MachineCommandTests {
    /// A rum.toml and a RUM_HOME that go away with it.
    private final class Workplace: Sendable {
        let folder: String
        var home: String { folder + "/home" }
        var machine: String { home + "/machines/fault" }

        /// libvirt's test driver stands in for a daemon; its domains last as long as one connection.
        init(
            image: String = "base.img", more: String = "", libvirt: String = "test:///default"
        ) throws {
            folder = "/tmp/rum-\(UUID().uuidString.prefix(8))"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
            try write(
                """
                name = "fault"
                [image]
                base = "\(image)"
                \(more)
                [advanced]
                libvirt_uri = "\(libvirt)"
                domain_type = "qemu"
                """, to: "rum.toml")
            // The shortest disk: a partition table, with one partition in the sector after it.
            var disk = [UInt8](repeating: 0, count: 1 << 20)
            disk.replaceSubrange(446..<462, with: [0, 0, 0, 0, 0x83, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0])
            disk.replaceSubrange(510..<512, with: [0x55, 0xaa])
            try Data(disk).write(to: URL(fileURLWithPath: folder + "/base.img"))
            try write("", to: "bundle")
        }

        deinit { try? FileManager.default.removeItem(atPath: folder) }

        func write(_ text: String, to name: String) throws {
            try text.write(toFile: "\(folder)/\(name)", atomically: false, encoding: .utf8)
        }

        /// With `isNamed`, the arguments say which machine is meant, in place of rum.toml.
        func start(
            _ command: String, _ arguments: [String] = [], isNamed: Bool = false,
            environment: [String: String] = [:]
        ) throws -> Program {
            let own = [
                "RUM_HOME": home, "RUM_CACHE": folder + "/cache", "RUM_AGENT_BUNDLE": folder + "/bundle",
            ]
            return try Program(
                "rum", [command] + (isNamed ? [] : ["-c", folder + "/rum.toml"]) + arguments,
                environment: own.merging(environment) { $1 }.merging(
                    isNamed ? ["LIBVIRT_DEFAULT_URI": "test:///default"] : [:]
                ) { $1 })
        }

        /// Runs it to its end.
        func run(_ command: String, _ arguments: [String] = [], isNamed: Bool = false) async throws -> Program
        {
            let run = try start(command, arguments, isNamed: isNamed)
            try await eventually("rum \(command) ended; it said: \(run.lines)") { run.status != nil }
            return run
        }

        var hasMachine: Bool { FileManager.default.fileExists(atPath: machine) }
    }

    /// One error with one hint after it, at the end.
    private func expectError(_ run: Program, _ status: Int32, _ text: String) {
        #expect(run.status == status)
        #expect(run.lines.count { $0.hasPrefix("error: ") } == 1, "it said: \(run.lines)")
        #expect(run.lines.contains { $0.contains(text) }, "it said: \(run.lines)")
        #expect(run.lines.last?.hasPrefix("hint: ") == true, "it said: \(run.lines)")
    }

    @Test("Every problem of a broken rum.toml is told at once, and nothing is touched")
    func brokenConfiguration() async throws {
        let place = try Workplace()
        try place.write(
            "nmae = 3\n[resources]\ncpus = 0\n[auto_ports]\nrange = \"6000-5000\"\n", to: "rum.toml")
        for command in ["up", "down", "destroy", "status"] {
            let run = try await place.run(command)
            expectError(run, 2, "rum.toml:1: nmae: unknown key")
            for problem in ["rum.toml:3: resources.cpus", "rum.toml:5: auto_ports.range"] {
                #expect(run.lines.contains { $0.contains(problem) }, "it said: \(run.lines)")
            }
        }
        #expect(!FileManager.default.fileExists(atPath: place.home))
    }

    @Test("A rum.toml cannot make any command run a program on the host")
    func hostileURI() async throws {
        for uri in [
            "qemu+ext://x/session?command=", "QEMU+SSH://x/system?netcat=x&command=", "xen+ext:///?command=",
        ] {
            let place = try Workplace()
            try place.write("#!/bin/sh\ntouch \(place.folder)/ran\n", to: "program")
            #expect(chmod(place.folder + "/program", 0o700) == 0)
            try place.write(
                "image.base = \"base.img\"\nadvanced.libvirt_uri = \"\(uri)\(place.folder)/program\"",
                to: "rum.toml")
            for command in ["up", "down", "destroy", "status", "exec"] {
                let run = try await place.run(command, command == "exec" ? ["--", "true"] : [])
                expectError(run, 2, "only a libvirt of this host")
                #expect(run.lines.last?.contains("command=") == false, "it said: \(run.lines)")
            }
            #expect(!FileManager.default.fileExists(atPath: place.folder + "/ran"))
        }
    }

    @Test("A missing program is told before anything is downloaded")
    func missingProgram() async throws {
        let place = try Workplace(image: "http://127.0.0.1:9/x.qcow2")
        let run = try place.start("up", environment: ["PATH": "/nowhere"])
        try await eventually("rum up ended") { run.status != nil }
        expectError(run, 1, "sha256sum, qemu-img, curl, xorriso are not installed")
        #expect(!run.lines.contains { $0.contains("Downloading") }, "it said: \(run.lines)")
        #expect(!place.hasMachine)
    }

    @Test("A download shows no secret of its URL, to users or other processes, and reads no ~/.curlrc")
    func secretURL() async throws {
        let server = try TestListener(.loopbackV4)
        let place = try Workplace(image: "http://me:secret@127.0.0.1:\(server.port)/x.qcow2?token=hidden")
        try place.write("trace-ascii = \"\(place.folder)/trace\"\n", to: ".curlrc")
        let run = try place.start("up", environment: ["HOME": place.folder, "CURL_HOME": place.folder])
        try await run.waits(for: "Downloading http://127.0.0.1:\(server.port)/x.qcow2")
        var commands: [String] = []
        try await eventually("curl runs") {
            commands = try FileManager.default.contentsOfDirectory(atPath: "/proc").filter { Int($0) != nil }
                .compactMap { FileManager.default.contents(atPath: "/proc/\($0)/cmdline") }
                .map { String(decoding: $0, as: UTF8.self) }
                .filter { $0.contains("curl\0") && $0.contains(place.folder) }
            return !commands.isEmpty
        }
        run.send(SIGINT)
        try await eventually("rum up ended; it said: \(run.lines)") { run.status != nil }
        for text in commands + run.lines { #expect(!text.contains("secret") && !text.contains("hidden")) }
        #expect(!FileManager.default.fileExists(atPath: place.folder + "/trace"))
        withExtendedLifetime(server) {}
    }

    @Test("A machine is found by its name, wherever its rum.toml is")
    func byName() async throws {
        let place = try Workplace()
        #expect(try await place.run("list", isNamed: true).status == 0)
        try FileManager.default.createDirectory(atPath: place.machine, withIntermediateDirectories: true)
        #expect(chmod(place.machine, 0o700) == 0)
        let record = """
            {"uuid": "0b1c9a52-3f0e-4f6e-9d0a-6f2f0a3f7c11", "instanceID": "i", "configFile": "/gone/rum.toml",
            "libvirtURI": "test:///default"}
            """
        try place.write(record, to: "home/machines/fault/machine.json")
        let list = try await place.run("list", isNamed: true)
        #expect(
            list.lines.contains { $0.hasPrefix("fault ") && $0.contains("absent") }, "it said: \(list.lines)")
        let rows = try await place.run("list", ["--json"], isNamed: true).lines.joined()
        let row = (try JSONSerialization.jsonObject(with: Data(rows.utf8)) as? [[String: Any]])?.first
        #expect(row?["name"] as? String == "fault")
        #expect(row?["state"] as? String == "absent")
        #expect(row?["forwards"] as? [String] == [])
        let status = try await place.run("status", ["fault"], isNamed: true)
        #expect(status.lines.contains { $0.hasSuffix("fault: absent") }, "it said: \(status.lines)")
        #expect(try await place.run("down", ["fault"], isNamed: true).status == 0)
        expectError(
            try await place.run("exec", ["fault", "--", "true"], isNamed: true), 255, "fault is not running")
        expectError(try await place.run("up", ["fault"], isNamed: true), 2, "/gone/rum.toml")
        expectError(try await place.run("status", ["other"], isNamed: true), 1, "there is no machine other")
        expectError(try await place.run("status", ["../fault"], isNamed: true), 1, "there is no machine")
        expectError(try await place.run("status", ["fault"]), 2, "not both")
        // A damaged record, and a broken rum.toml, keep nobody from removing it.
        try place.write("{", to: "home/machines/fault/machine.json")
        #expect(try await place.run("destroy", ["fault"], isNamed: true).status == 0)
        #expect(!place.hasMachine)
    }

    @Test("A folder whose sockets would have too long names is told before anything is made")
    func longPath() async throws {
        let place = try Workplace()
        let home = place.folder + "/" + String(repeating: "x", count: 90)
        let run = try place.start("up", environment: ["RUM_HOME": home])
        try await eventually("rum up ended") { run.status != nil }
        expectError(run, 1, "is too long for sockets")
        #expect(!FileManager.default.fileExists(atPath: home))
    }

    @Test("A missing rum.toml is told with what to do")
    func missingConfiguration() async throws {
        let run = try Program("rum", ["up", "-c", "/nowhere/rum.toml"])
        try await eventually("rum ended") { run.status != nil }
        expectError(run, 2, "/nowhere/rum.toml")
    }

    @Test(
        "An image that cannot be used ends rum up, and no machine is left",
        arguments: [
            ("nowhere.qcow2", "", "there is no image"),
            ("rum.toml", "", "is not a disk image"),
            ("/dev/zero", "", "is no regular file"),
            ("layer.qcow2", "", "only a layer on top of another file"),
            ("base.img", "sha256 = \"\(String(repeating: "0", count: 64))\"", "image.sha256"),
            ("http://127.0.0.1:9/x.qcow2", "", "cannot download"),
        ])
    func badImage(image: String, more: String, says: String) async throws {
        let place = try Workplace(image: image, more: more)
        // The header of a qcow2 image of 1 MiB that names a backing file.
        var header = [UInt8](repeating: 0, count: 1 << 16)
        for (offset, byte) in [(3, 0xfb), (7, 3), (14, 1), (19, 8), (23, 16), (29, 16), (103, 104)] {
            header[offset] = UInt8(byte)
        }
        header.replaceSubrange(0..<3, with: "QFI".utf8)
        header.replaceSubrange(256..<264, with: "base.img".utf8)
        try Data(header).write(to: URL(fileURLWithPath: place.folder + "/layer.qcow2"))
        let run = try await place.run("up")
        expectError(run, 1, says)
        #expect(!place.hasMachine)
    }

    @Test("Without a libvirt daemon every command that needs it says so, and no machine is left")
    func noDaemon() async throws {
        let place = try Workplace(libvirt: "qemu:///system?socket=/nowhere/libvirt-sock")
        for (command, status) in [("up", 1), ("status", 1), ("exec", 255)] as [(String, Int32)] {
            let run = try await place.run(command, command == "exec" ? ["--", "true"] : [])
            expectError(run, status, "cannot connect to libvirt at qemu:///system")
        }
        #expect(!place.hasMachine)
    }

    @Test("Without a machine, down and destroy have nothing to do, twice, and status says so")
    func noMachine() async throws {
        let place = try Workplace()
        for command in ["down", "down", "destroy", "destroy", "status"] {
            #expect(try await place.run(command).status == 0)
        }
        let report = try await place.run("status", ["--json"])
        let object = try JSONSerialization.jsonObject(with: Data(report.lines.joined().utf8))
        #expect((object as? [String: Any])?["state"] as? String == "absent")
        #expect(!place.hasMachine)
    }

    @Test("rum exec without a running machine is told apart from every command's own code")
    func execWithoutMachine() async throws {
        expectError(try await Workplace().run("exec", ["--", "true"]), 255, "fault is not running (absent)")
    }

    @Test("Commands tell an owner that does not speak their protocol, and are not held up by it")
    func strangeOwner() async throws {
        let place = try Workplace()
        try FileManager.default.createDirectory(atPath: place.machine, withIntermediateDirectories: true)
        let socket = try StreamSocket.listen(on: .unix(path: place.machine + "/control.sock"))
        let isOver = Mutex(false)
        let talking = try BackgroundThread {
            while !isOver.withLock({ $0 }) {
                let number = accept(socket.rawValue, nil, nil)
                guard number >= 0 else {
                    usleep(1000)
                    continue
                }
                let client = OwnedDescriptor(owning: number)
                let hello =
                    #"{"hello":{"version":99,"rum":"9.9.9","machine":"fault","pid":7,"background":true}}"#
                    + "\n"
                _ = Glibc.send(client.rawValue, hello, hello.utf8.count, Int32(MSG_NOSIGNAL))
            }
        }
        for command in [
            ["ports"], ["ports", "why", "80"], ["ports", "wait", "80"], ["ports", "add", "80:80"],
        ] {
            let run = try await place.run(command[0], Array(command.dropFirst()))
            expectError(run, 1, "forwarded by rum 9.9.9 (pid 7)")
            #expect(run.lines.last?.contains("rum up -d") == true)
        }
        isOver.withLock { $0 = true }
        await talking.end()
    }

    @Test("Without an owner, the commands about ports say why nothing is forwarded")
    func noOwner() async throws {
        let place = try Workplace()
        let why = try await place.run("ports", ["why", "5001"])
        #expect(why.status == 0)
        #expect(
            why.lines == [
                "fault was never started", "hint: `rum up -d` starts it and forwards in the background",
            ])
        let json = try await place.run("ports", ["why", "5001", "--json"])
        #expect(json.lines.first?.contains(#""reason":"machine_stopped""#) == true, "it said: \(json.lines)")
        let wait = try await place.run("ports", ["wait", "5001", "--timeout", "200ms"])
        #expect(wait.status == 1)
        #expect(wait.lines.first == "fault was never started")
        expectError(try await place.run("ports"), 1, "fault was never started")
        expectError(try await place.run("ports", ["--watch"]), 1, "nothing forwards the ports of fault")
        expectError(try await place.run("ports", ["add", "8080:80"]), 1, "fault was never started")
        expectError(try await place.run("background-owner"), 1, "fault does not run")
        expectError(try await place.run("logs"), 1, "fault has not been started")
        expectError(
            try await place.run("logs", ["--background"]), 1, "never been forwarded in the background")
        for boot in ["-9", "\(Int.min)"] {
            expectError(try await place.run("logs", ["--boot", boot]), 2, "only the last 4 runs")
        }
        let relative = try place.start("list", isNamed: true, environment: ["RUM_HOME": "here"])
        try await eventually("rum list ended") { relative.status != nil }
        expectError(relative, 2, "RUM_HOME: expected an absolute path, not \"here\"")
        for words in [
            ["why"], ["why", "x", "y"], ["wait", "0"], ["add", "80"], ["rm", "1:2", "dev", "dev"],
        ] {
            #expect(try await place.run("ports", words).status == 2)
        }
        #expect(!place.hasMachine)
    }

    @Test("Logs are shown as they are kept, also of a machine without a rum.toml, run or not")
    func logs() async throws {
        let place = try Workplace()
        try FileManager.default.createDirectory(atPath: place.machine, withIntermediateDirectories: true)
        try place.write("{}", to: "home/machines/fault/machine.json")
        try place.write(
            "[    1.0] Linux\r\n[    2.0] rum-agent[3]: ready\r\n[    3.0] rum-provision[4]: done\r\n",
            to: "home/machines/fault/console.log")
        try place.write("before\n", to: "home/machines/fault/console.1.log")
        for (words, lines) in [
            ([], ["[    1.0] Linux", "[    2.0] rum-agent[3]: ready", "[    3.0] rum-provision[4]: done"]),
            (["--agent"], ["[    2.0] rum-agent[3]: ready"]),
            (["--provision"], ["[    3.0] rum-provision[4]: done"]),
            (["-n", "1"], ["[    3.0] rum-provision[4]: done"]), (["--boot", "-1"], ["before"]),
        ] as [([String], [String])] {
            let run = try await place.run("logs", ["fault"] + words, isNamed: true)
            #expect(run.status == 0)
            #expect(run.lines == lines)
        }
        expectError(
            try await place.run("logs", ["fault", "--boot", "-2"], isNamed: true), 1,
            "nothing is kept of run -2")
        let following = try place.start("logs", ["fault", "-f"], isNamed: true)
        try await following.waits(for: "rum-provision[4]")
        let file = try #require(FileHandle(forWritingAtPath: place.machine + "/console.log"))
        try file.seekToEnd()
        try file.write(contentsOf: Data("later\n".utf8))
        try await following.waits(for: "later")
        following.send(SIGINT)
        try await eventually("it ended") { following.status != nil }
        #expect(following.status == 130)
    }

    @Test(
        "That libvirt does not answer is told, and SIGTERM ends rum up all the same", .timeLimit(.minutes(1)))
    func silentLibvirt() async throws {
        let folder = try TestFolder()
        let socket = folder.path + "/libvirt-sock"
        // It accepts and never answers.
        let daemon = try StreamSocket.listen(on: .unix(path: socket))
        let place = try Workplace(libvirt: "qemu:///system?socket=\(socket)")
        let run = try place.start("up")
        try await eventually("rum up connects") {
            var waiting = pollfd(fd: daemon.rawValue, events: Int16(POLLIN), revents: 0)
            return poll(&waiting, 1, 0) == 1
        }
        try await run.waits(for: "Waiting for libvirt at qemu:///system?socket=\(socket)")
        let asked = ContinuousClock.now
        run.send(SIGTERM)
        try await eventually("rum up ended; it said: \(run.lines)") { run.status != nil }
        #expect(run.status == 130)
        #expect(ContinuousClock.now - asked < .seconds(8))
        withExtendedLifetime(daemon) {}
    }

    @Test("Ctrl-C during a download ends rum up with 130, and no machine is left")
    func interruptedDownload() async throws {
        // It accepts and never answers.
        let server = try TestListener(.loopbackV4)
        let place = try Workplace(image: "http://127.0.0.1:\(server.port)/x.qcow2")
        let run = try place.start("up")
        try await run.waits(for: "Downloading")
        run.send(SIGINT)
        try await eventually("rum up ended; it said: \(run.lines)") { run.status != nil }
        #expect(run.status == 130)
        #expect(!run.lines.contains { $0.hasPrefix("error:") }, "it said: \(run.lines)")
        #expect(!place.hasMachine)
        withExtendedLifetime(server) {}
    }
}
