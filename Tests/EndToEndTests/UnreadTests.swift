import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import ProcNet
import TestSupport
import Testing

/// The programs with a standard output or standard error that nobody reads: the pipe is full, so whatever waits for it
/// waits for ever.
@Suite("Output that nobody reads", .serialized, .timeLimit(.minutes(2)))
struct UnreadTests {
    static let ports: Range<UInt16> = 5500..<5900

    /// Starts `rum forward` on a host of its own, whose other programs hold none of so many ports.
    private static func startForward(
        _ guest: Guest, _ arguments: [String], unread: [Int32] = []
    ) async throws -> Program {
        try await NetworkNamespace().run { try guest.startForward(arguments, unread: unread) }
    }

    /// How many ports of a range the program's host listens on.
    private static func openPorts(_ ports: Range<UInt16> = Self.ports, of rum: Program) -> Int {
        let range = PortRange(port(ports.lowerBound), port(ports.upperBound - 1))
        let reader = ProcNetReader(root: "/proc/\(rum.pid)")
        return range.flatMap { try? reader.listeners(in: $0) }?.count ?? 0
    }

    @Test(
        "rum forward opens and closes every port, and Ctrl-C ends it",
        arguments: [(STDOUT_FILENO, "--json"), (STDOUT_FILENO, "-v"), (STDERR_FILENO, "-v")])
    func forward(unread: Int32, style: String) async throws {
        let guest = try await Guest()
        // First, so that it has to say that it waits.
        let rum = try await Self.startForward(guest, ["--auto", "5500-5899", style], unread: [unread])
        try await eventually("rum waits") { rum.descriptors > 8 }
        let agent = try await guest.startAgent()
        var listeners = try await guest.listen(ports: Self.ports)
        try await eventually("400 ports open, now \(Self.openPorts(of: rum))") {
            Self.openPorts(of: rum) == 400
        }
        withExtendedLifetime(listeners) {}
        listeners = []
        try await eventually("no port open, now \(Self.openPorts(of: rum))") { Self.openPorts(of: rum) == 0 }
        rum.send(SIGINT)
        try await eventually("rum ended") { rum.status == 130 }
        _ = agent
    }

    @Test("Who was started by nohup outlives the hang-up of the terminal")
    func nohup() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try Program(
            "/usr/bin/nohup",
            [
                "\(builtPrograms)/rum", "forward", "--agent", "unix:\(guest.directory)", "--auto",
                "5970-5971", "--port", "5972:80",
            ])
        try await rum.waits(for: "Forwarding 127.0.0.1:5972")
        let status = try String(contentsOfFile: "/proc/\(rum.pid)/status", encoding: .utf8)
        let ignored = try #require(status.split(separator: "\n").first { $0.hasPrefix("SigIgn:") })
        #expect(ignored.last?.hexDigitValue.map { $0 & 1 } == 1, "\(ignored)")
        rum.send(SIGHUP)
        let listener = try await guest.listen(port: 5970)
        try await rum.waits(for: "Auto-forwarding 127.0.0.1:5970")
        rum.send(SIGTERM)
        try await eventually("rum ended") { rum.status == 130 }
        withExtendedLifetime((agent, listener)) {}
    }

    @Test("rum-agent serves its tables, and ends on SIGTERM", arguments: [STDOUT_FILENO, STDERR_FILENO])
    func agent(unread: Int32) async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent(unread: [unread])
        let rum = try await Self.startForward(guest, ["--auto", "5500-5899"])
        var listeners = try await guest.listen(ports: Self.ports)
        try await rum.waits(for: "Auto-forwarding", times: 400)
        withExtendedLifetime(listeners) {}
        listeners = []
        try await rum.waits(for: "Stopped forwarding", times: 400)
        agent.send(SIGTERM)
        try await eventually("the agent ended") { agent.status == 0 }
    }

    @Test("rum-agent watch ends on Ctrl-C", arguments: [STDOUT_FILENO, STDERR_FILENO])
    func watch(unread: Int32) async throws {
        let guest = try await Guest()
        let watch = try await guest.start("rum-agent", ["watch", "--json"], unread: [unread])
        try await eventually("it takes signals") { watch.takes(SIGINT) }
        for round in 0..<20 {
            let listener = try await guest.listen(port: 5500 + UInt16(round))
            try await Task.sleep(for: .milliseconds(5))
            withExtendedLifetime(listener) {}
        }
        watch.send(SIGINT)
        try await eventually("it ended") { watch.status == 130 }
    }

    @Test(
        "Who follows events, tables or a log ends soon after its reader, at no further one",
        arguments: ["", "--json"])
    func headOfPipe(style: String) async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let listener = try await guest.listen(port: 5960)
        let home = try TestFolder()
        let environment = ["RUM_HOME": home.path]
        /// The commands of a pipeline whose reader takes one line, then the first one's exit code.
        func firstLine(_ command: String, in namespace: NetworkNamespace? = nil) async throws -> [String] {
            let script = "\(builtPrograms)/\(command) | head -1; echo ended ${PIPESTATUS[0]}"
            let arguments = ["-c", script]
            let program =
                if let namespace {
                    try await namespace.run { try Program("/bin/bash", arguments, environment: environment) }
                } else {
                    try Program("/bin/bash", arguments, environment: environment)
                }
            try await eventually("the end of \(command); it said: \(program.lines)") { program.status != nil }
            return program.lines.filter { !$0.hasPrefix("rum: ") }
        }

        let forward = "rum forward --agent unix:\(guest.directory) --auto 5960-5961 \(style)"
        let once = try await firstLine(forward)
        #expect(once.count == 2 && once[0].contains("5960") && once[1] == "ended 1", "\(once)")

        let rum = try guest.startForward(["--name", "box", "--auto", "5960-5961"], environment: environment)
        try await rum.waits(for: "5960")
        let watch = try await firstLine("rum ports box --watch \(style)")
        #expect(watch.count == 2 && watch[0].contains("5960") && watch[1] == "ended 1", "\(watch)")

        let tables = try await firstLine("rum-agent watch \(style)", in: guest.namespace)
        #expect(tables.count == 2 && tables[0].contains("5960") && tables[1] == "ended 1", "\(tables)")

        let machine = home.path + "/machines/logs"
        try FileManager.default.createDirectory(atPath: machine, withIntermediateDirectories: true)
        try #"{"uuid": "u", "instanceID": "i", "configFile": "/nowhere/rum.toml"}"#
            .write(toFile: machine + "/machine.json", atomically: false, encoding: .utf8)
        try "one\n".write(toFile: machine + "/console.log", atomically: false, encoding: .utf8)
        #expect(try await firstLine("rum logs logs -f") == ["one", "ended 1"])
        withExtendedLifetime((agent, listener)) {}
    }

    @Test("A reader that comes late gets what was queued, the number of lines it missed, and the whole state")
    func lateReader() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let ports: Range<UInt16> = 5000..<5700
        let rum = try await Self.startForward(
            guest, ["--auto", "5000-5699", "--json"], unread: [STDOUT_FILENO])
        var listeners: [TestListener] = []
        // Some 200 bytes an event, of which 512 KiB are kept.
        for _ in 0..<3 {
            listeners = []
            try await eventually("no port open") { Self.openPorts(ports, of: rum) == 0 }
            listeners = try await guest.listen(ports: ports)
            try await eventually("700 ports open") { Self.openPorts(ports, of: rum) == 700 }
        }
        // These close while nobody reads, so their `closed` is among the lines that are missing.
        listeners.removeFirst(100)
        try await eventually("600 ports open") { Self.openPorts(ports, of: rum) == 600 }
        try rum.readUnread()
        try await rum.waits(for: #""event":"dropped""#)
        let place = try #require(rum.lines.firstIndex { $0.contains(#""event":"dropped""#) })
        let count = try #require(Dropped(json: rum.lines[place])?.count)
        let told = rum.lines[1..<place].count
        #expect(told > 1500 && told + count == 700 * 5 + 100)
        try await eventually("the state") { rum.lines.count > place + 600 }
        let state = rum.lines[(place + 1)...]
        #expect(state.count == 600 && state.allSatisfy { $0.contains(#""event":"opened""#) })
        // Business as usual from then on.
        listeners.removeFirst()
        try await eventually("the end of one more") {
            rum.lines.last?.contains(#""event":"closed""#) == true
        }
        _ = (agent, listeners)
    }

    private struct Dropped: Decodable {
        var event: String
        var count: Int

        init?(json: String) {
            guard let value = try? JSONDecoder().decode(Self.self, from: Data(json.utf8)) else { return nil }
            self = value
        }
    }
}
