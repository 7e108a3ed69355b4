import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
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
            try write(String(repeating: "\0", count: 1 << 20), to: "base.img")
            try write("", to: "bundle")
        }

        deinit { try? FileManager.default.removeItem(atPath: folder) }

        func write(_ text: String, to name: String) throws {
            try text.write(toFile: "\(folder)/\(name)", atomically: false, encoding: .utf8)
        }

        func start(_ command: String, _ arguments: [String] = []) throws -> Program {
            try Program(
                "rum", [command, "-c", folder + "/rum.toml"] + arguments,
                environment: [
                    "RUM_HOME": home, "RUM_CACHE": folder + "/cache", "RUM_AGENT_BUNDLE": folder + "/bundle",
                ])
        }

        /// Runs it to its end.
        func run(_ command: String, _ arguments: [String] = []) async throws -> Program {
            let run = try start(command, arguments)
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
            ("base.img", "sha256 = \"\(String(repeating: "0", count: 64))\"", "image.sha256"),
            ("http://127.0.0.1:9/x.qcow2", "", "cannot download"),
        ])
    func badImage(image: String, more: String, says: String) async throws {
        let place = try Workplace(image: image, more: more)
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

    @Test("A second rum up is refused, and the first goes on")
    func secondUp() async throws {
        let place = try Workplace()
        try FileManager.default.createDirectory(atPath: place.machine, withIntermediateDirectories: true)
        let socket = SocketAddress.unix(path: place.machine + "/up.sock")
        let first = try StreamSocket.listen(on: socket)
        expectError(try await place.run("up"), 1, "another `rum up`")
        _ = try StreamSocket.connect(to: socket)
        withExtendedLifetime(first) {}
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
