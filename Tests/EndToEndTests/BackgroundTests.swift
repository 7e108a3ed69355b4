import Foundation
import Glibc
import Linux
import TestSupport
import Testing

/// `rum up -d` and the process that it leaves, with a machine of libvirt's test driver: it runs, and no agent ever answers.
@Suite("Forwarding in the background", .serialized, .timeLimit(.minutes(2)))
struct BackgroundTests {
    final class Place: Sendable {
        let folder: TestFolder
        let host: UInt16
        /// libvirt's URI.
        private let node: String
        private var environment: [String: String] {
            [
                "RUM_HOME": folder.path, "LIBVIRT_DEFAULT_URI": node,
                "RUM_AGENT_BUNDLE": folder.path + "/bundle.tar.gz",
            ]
        }
        var machine: String { folder.path + "/machines/bg" }

        init(host: UInt16) throws {
            folder = try TestFolder()
            self.host = host
            let uuid = "0b1c9a52-3f0e-4f6e-9d0a-6f2f0a3f7c11"
            let domain = """
                <node><domain type='test'><name>rum-bg</name><uuid>\(uuid)</uuid><memory>65536</memory><vcpu>1</vcpu>
                <os><type>hvm</type></os><devices><vsock model='virtio'><cid auto='no' address='77777'/></vsock></devices>
                </domain></node>
                """
            node = "test://" + (try folder.file("node.xml", domain))
            let config = try folder.file(
                "rum.toml",
                """
                name = "bg"
                [image]
                base = "base.img"
                [[ports]]
                host = \(host)
                guest = 80
                [auto_ports]
                range = "5790-5799"
                """)
            _ = try folder.file("bundle.tar.gz", "")
            _ = try folder.folder("machines/bg")
            guard chmod(machine, 0o700) == 0 else { throw SystemError.current("chmod") }
            let record = """
                {"uuid": "\(uuid)", "instanceID": "i", "configFile": "\(config)", "libvirtURI": "\(node)"}
                """
            _ = try folder.file("machines/bg/machine.json", record)
            _ = try folder.file("machines/bg/token", String(repeating: "ab", count: 32) + "\n")
        }

        func start(_ words: String...) throws -> Program { try start(words) }

        func start(_ words: [String]) throws -> Program {
            try Program("rum", words, environment: environment)
        }

        func run(_ words: [String]) async throws -> Program {
            let run = try Program("rum", words, environment: environment)
            try await eventually("rum \(words) ended; it said: \(run.lines)") { run.status != nil }
            return run
        }

        /// Leaves a background process, as a starter that is killed does; its pid.
        func leaveOwner() async throws -> Int32 {
            let starter = try start("up", "-d", "bg")
            try await starter.waits(for: "Forwarding 127.0.0.1:\(host) → guest:80")
            starter.send(SIGKILL)
            let status = try await run(["status", "bg", "--json"]).lines.joined()
            let object = try JSONSerialization.jsonObject(with: Data(status.utf8)) as? [String: Any]
            let up = try #require(object?["up"] as? [String: Any], "it said: \(status)")
            #expect(up["background"] as? Bool == true)
            return Int32(try #require(up["pid"] as? Int))
        }

        var isServed: Bool { FileManager.default.fileExists(atPath: machine + "/control.sock") }
        var log: String { (try? readText(machine + "/background.log")) ?? "" }
    }

    @Test("An interrupted start, and one whose agent does not answer in time, leave no process")
    func failedStart() async throws {
        let place = try Place(host: 5690)
        let interrupted = try place.start("up", "-d", "bg")
        try await interrupted.waits(for: "Forwarding 127.0.0.1:5690 → guest:80")
        #expect(Client.reaches(5690))
        interrupted.send(SIGINT)
        try await eventually("it ended; it said: \(interrupted.lines)") { interrupted.status != nil }
        #expect(interrupted.status == 130)
        try await eventually("its background process ended") { !Client.reaches(5690) && !place.isServed }

        let late = try await place.run(["up", "-d", "bg", "--timeout", "1s"])
        #expect(late.status == 1)
        #expect(
            late.lines.contains { $0.contains("the guest's agent did not answer within") }, "\(late.lines)")
        #expect(late.lines.last?.hasPrefix("hint: ") == true, "\(late.lines)")
        try await eventually("its background process ended") { !Client.reaches(5690) && !place.isServed }
    }

    @Test("Others ask it, attach to it and end it")
    func life() async throws {
        let place = try Place(host: 5691)
        let owner = try await place.leaveOwner()
        defer { kill(owner, SIGKILL) }
        #expect(getsid(owner) == owner)
        try await eventually("it is logged") { place.log.contains("Forwarding 127.0.0.1:5691 → guest:80") }

        let attached = try place.start("up", "bg")
        try await attached.waits(for: "Forwarding 127.0.0.1:5691 → guest:80")
        try await attached.waits(for: "background process (pid \(owner))")
        let added = try await place.run(["ports", "add", "bg", "5692:80"])
        #expect(added.status == 0 && added.lines.first?.contains("until the machine stops") == true)
        try await attached.waits(for: "Forwarding 127.0.0.1:5692 → guest:80")
        attached.send(SIGINT)
        try await eventually("it ended") { attached.status != nil }
        #expect(attached.status == 130 && attached.lines.last?.contains("stay forwarded") == true)

        let ports = try await place.run(["-c", place.folder.path + "/rum.toml", "ports"])
        #expect(ports.status == 0)
        #expect(ports.lines.contains { $0.hasPrefix("127.0.0.1:5692  guest:80  open") }, "\(ports.lines)")
        let why = try await place.run(["ports", "why", "5791", "bg"])
        #expect(why.lines.first?.hasPrefix("the guest's agent has not answered yet") == true, "\(why.lines)")
        #expect(try await place.run(["ports", "wait", "5692", "bg"]).status == 0)
        #expect(try await place.run(["ports", "wait", "bg", "5791", "--timeout", "200ms"]).status == 1)
        #expect(try await place.run(["ports", "rm", "bg", "5692:80"]).status == 0)
        #expect(!Client.reaches(5692) && Client.reaches(5691))

        // The test driver's machines are each connection's own, so this one does not see that the machine stops.
        let down = try await place.run(["down", "bg"])
        #expect(down.status == 0, "\(down.lines)")
        #expect(!Client.reaches(5691) && !place.isServed)
        try await eventually("it ended") { kill(owner, 0) != 0 }
        #expect(place.log.contains("Ended by another command"))
    }

    @Test("After a crash nothing is in the way, and it is told")
    func crash() async throws {
        let place = try Place(host: 5693)
        let owner = try await place.leaveOwner()
        let watcher = try place.start("ports", "--watch", "bg")
        try await watcher.waits(for: "Forwarding 127.0.0.1:5693 → guest:80")
        kill(owner, SIGKILL)
        try await eventually("the watcher ended; it said: \(watcher.lines)") { watcher.status != nil }
        #expect(watcher.status == 1)
        #expect(watcher.lines.contains { $0.contains("has ended without a word") }, "\(watcher.lines)")
        let status = try await place.run(["status", "bg"])
        #expect(status.lines.contains { $0.contains("has ended without a word") }, "\(status.lines)")
        let why = try await place.run(["ports", "why", "5693", "bg", "--json"])
        #expect(why.lines.first?.contains(#""reason":"no_owner""#) == true, "\(why.lines)")
        let next = try await place.leaveOwner()
        #expect(Client.reaches(5693))
        kill(next, SIGTERM)
        try await eventually("it ended") { !Client.reaches(5693) && !place.isServed }
    }

    @Test("Ctrl-C leaves the machine running, and says so")
    func goodbye() async throws {
        let place = try Place(host: 5682)
        let up = try place.start("up", "bg")
        try await up.waits(for: "Forwarding 127.0.0.1:5682 → guest:80")
        up.send(SIGINT)
        try await eventually("it ended") { up.status != nil }
        #expect(up.status == 130)
        #expect(up.lines.last == "rum: bg keeps running; `rum down` stops it", "\(up.lines)")
    }

    @Test(
        "Changed ports are forwarded at once by the process that forwards, and told as applied once",
        arguments: [false, true])
    func changedPorts(isDetached: Bool) async throws {
        let place = try Place(host: 5683)
        let owner = try await place.leaveOwner()
        defer { kill(owner, SIGKILL) }
        let added = try await place.run(["ports", "add", "5689:22", "bg"])
        #expect(added.status == 0, "\(added.lines)")
        let text = try readText(place.folder.path + "/rum.toml")
        _ = try place.folder.file("rum.toml", text.replacingOccurrences(of: "5683", with: "5684"))
        for isFirst in [true, false] {
            let up = try place.start(["up", "bg"] + (isDetached ? ["-d"] : []))
            try await up.waits(for: "Forwarding 127.0.0.1:5684 → guest:80")
            #expect(Client.reaches(5684) && Client.reaches(5689) && !Client.reaches(5683))
            #expect(up.lines.contains("rum: ports has changed: applied") == isFirst, "\(up.lines)")
            up.send(SIGINT)
            try await eventually("it ended") { up.status != nil }
        }
        #expect(place.log.contains("The forwards go by \(place.folder.path)/rum.toml as it is now"))
        #expect(kill(owner, 0) == 0)
    }

    @Test("A rum.toml that the process that forwards cannot go by changes nothing, and is told until it can")
    func notReloaded() async throws {
        let place = try Place(host: 5687)
        let owner = try await place.leaveOwner()
        defer { kill(owner, SIGKILL) }
        let text = try readText(place.folder.path + "/rum.toml")
        _ = try place.folder.file("rum.toml", text.replacingOccurrences(of: "5687", with: "5688"))
        kill(owner, SIGSTOP)
        #expect(try await place.run(["up", "-d", "bg"]).status == 1)
        kill(owner, SIGCONT)
        #expect(Client.reaches(5687))
        let up = try place.start("up", "-d", "bg")
        try await up.waits(for: "Forwarding 127.0.0.1:5688 → guest:80")
        #expect(!Client.reaches(5687))
        #expect(up.lines.contains("rum: ports has changed: applied"), "\(up.lines)")
        up.send(SIGINT)
        try await eventually("it ended") { up.status != nil }
    }

    @Test("A start that finds the ports forwarded waits for the agent as long as it was told to")
    func lateAgent() async throws {
        let place = try Place(host: 5686)
        let owner = try await place.leaveOwner()
        defer { kill(owner, SIGKILL) }
        let late = try await place.run(["up", "-d", "bg", "--timeout", "1s"])
        #expect(late.status == 1)
        #expect(
            late.lines.contains("error: the guest's agent did not answer within 1s"), "\(late.lines)")
        #expect(late.lines.last?.hasPrefix("hint: ") == true, "\(late.lines)")
        #expect(Client.reaches(5686) && kill(owner, 0) == 0)
    }

    @Test("A reset without an image, and a destroy by another rum.toml, leave the forwards alone")
    func refused() async throws {
        let place = try Place(host: 5685)
        let owner = try await place.leaveOwner()
        defer { kill(owner, SIGKILL) }
        let reset = try await place.run(["up", "-d", "--reset", "bg"])
        #expect(reset.status == 1)
        #expect(
            reset.lines.contains { $0.hasPrefix("error: ") && $0.contains("base.img") }, "\(reset.lines)")
        #expect(Client.reaches(5685))
        let other = try place.folder.file("copy.toml", try readText(place.folder.path + "/rum.toml"))
        let destroy = try await place.run(["destroy", "-c", other])
        #expect(destroy.status == 1)
        #expect(destroy.lines.contains { $0.contains("belongs to") }, "\(destroy.lines)")
        #expect(Client.reaches(5685))
    }

    @Test("The forwards of a suspended machine are shown")
    func suspended() async throws {
        let place = try Place(host: 5686)
        let owner = try await place.leaveOwner()
        defer { kill(owner, SIGKILL) }
        // What the next connection to the test driver finds: 3 is VIR_DOMAIN_PAUSED.
        let node = try readText(place.folder.path + "/node.xml").replacingOccurrences(
            of: "<domain type='test'>",
            with: "<domain type='test' xmlns:test='http://libvirt.org/schemas/domain/test/1.0'>"
                + "<test:runstate>3</test:runstate>")
        _ = try place.folder.file("node.xml", node)
        let status = try await place.run(["status", "bg"])
        #expect(status.lines.contains { $0.hasSuffix("bg: paused") }, "\(status.lines)")
        #expect(
            status.lines.contains { $0.hasPrefix("forward") && $0.contains("127.0.0.1:5686 → guest:80") },
            "\(status.lines)")
    }
}
