import Foundation
import Linux
import TestSupport
import Testing

/// `rum forward --name`, as the other commands see it.
@Suite("rum forward with a name, and the commands that ask it", .serialized, .timeLimit(.minutes(2)))
struct NamedForwardTests {
    private let home: TestFolder
    private var environment: [String: String] { ["RUM_HOME": home.path] }

    private var socket: String { home.path + "/forwards/box/control.sock" }

    init() throws { home = try TestFolder() }

    private func isServed() async throws {
        try await eventually("its socket") { FileManager.default.fileExists(atPath: socket) }
    }

    /// A command's lines and its exit code.
    private func run(_ words: String...) async throws -> (lines: [String], status: Int32) {
        let program = try Program("rum", words, environment: environment)
        try await eventually("the end of rum \(words)") { program.status != nil }
        return (program.lines, program.status ?? -1)
    }

    @Test(
        "Its ports are shown, explained, waited for, added and removed by the name, which it lets go at its end"
    )
    func commands() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let options = ["--name", "box", "--auto", "5310-5319", "--ignore", "5319"]
        let rum = try guest.startForward(options, environment: environment)
        try await isServed()
        let listener = try await guest.listen(port: 5310)
        let waited = try await run("ports", "wait", "5310", "box")
        #expect(waited.lines == ["127.0.0.1:5310 → guest:5310"] && waited.status == 0, "\(waited)")

        let shown = try await run("ports", "box")
        #expect(
            shown.lines.contains { $0.contains("127.0.0.1:5310") && $0.contains("0.0.0.0:5310") }, "\(shown)")
        let listed = try await run("list")
        #expect(listed.lines.count == 1 && listed.status == 0)
        #expect(listed.lines.first?.hasPrefix("box ") ?? false, "\(listed)")
        #expect(listed.lines.first?.contains("by rum forward  127.0.0.1:5310") ?? false, "\(listed)")

        let outside = try await run("ports", "why", "4000", "box")
        #expect(
            outside.lines == [
                "4000 is out of the range 5310-5319 of --auto, and no --port names it",
                "hint: widen --auto, or forward it for now: rum ports add 4000:4000 box",
            ])
        #expect(try await run("ports", "why", "5319", "box").lines.first == "5319 is in --ignore")

        let added = try await run("ports", "add", "5330:80", "box")
        #expect(added.lines == ["127.0.0.1:5330 → guest:80, until its rum forward ends"], "\(added)")
        try await rum.waits(for: "Forwarding 127.0.0.1:5330 → guest:80")
        let removed = try await run("ports", "rm", "5330:80", "box")
        #expect(removed.lines == ["127.0.0.1:5330 → guest:80 is removed"], "\(removed)")

        // What needs a machine says what this is.
        let down = try await run("down", "box")
        #expect(down.status == 1)
        #expect(
            down.lines.last == "hint: a `rum forward` has this name; `rum ports box` shows what it forwards")

        let rival = try guest.startForward(options, environment: environment)
        try await rival.waits(for: "error: another `rum forward` has the name box")
        try await eventually("the rival's end") { rival.status == 1 }

        rum.send(SIGINT)
        try await eventually("its end") { rum.status == 130 }
        #expect(try FileManager.default.contentsOfDirectory(atPath: home.path + "/forwards").isEmpty)
        #expect(try await run("ports", "box").lines.first == "error: there is no machine box")
        withExtendedLifetime((agent, listener)) {}
    }

    @Test("Who listens behind a static forward is shown also where others were asked about a moment before")
    func fresh() async throws {
        let guest = try await Guest()
        let agent = try await guest.startAgent()
        let rum = try guest.startForward(["--name", "box", "--port", "5350:5351"], environment: environment)
        try await isServed()
        let listeners = try await guest.listen(ports: 5351..<5354)
        try await eventually("the first is shown") {
            try await run("ports", "box").lines.contains { $0.contains("0.0.0.0:5351") }
        }
        for (host, port) in [(5362, 5352), (5363, 5353)] {
            #expect(try await run("ports", "add", "\(host):\(port)", "box").status == 0)
            let shown = try await run("ports", "box")
            #expect(shown.lines.contains { $0.contains("0.0.0.0:\(port)") }, "\(shown)")
        }
        withExtendedLifetime((agent, rum, listeners)) {}
    }

    @Test("The live view gives the terminal back while Ctrl-Z has stopped it, and at its end")
    func stopped() async throws {
        let guest = try await Guest()
        let rum = try guest.startForward(["--name", "box", "--auto", "5340-5340"], environment: environment)
        try await isServed()
        let script = """
            import os, pty, sys
            said = b""
            def until(text):
                global said
                while text not in said:
                    said += os.read(terminal, 65536)
                said = said.split(text, 1)[1]
            pid, terminal = pty.fork()
            if pid == 0:
                os.environ["TERM"] = "xterm"
                command = sys.argv[1] + " ports --watch box; echo stopped $?; fg"
                os.execv("/bin/bash", ["bash", "-mc", command])
            until(b"ends this view")
            os.write(terminal, b"\\x1a")
            for text in b"\\x1b[?1049l", b"stopped 148", b"\\x1b[?1049h", b"ends this view":
                until(text)
            os.write(terminal, b"\\x03")
            until(b"\\x1b[?1049l")
            print("done")
            """
        let shell = try Program(
            "/usr/bin/python3", ["-c", script, "\(builtPrograms)/rum"], environment: environment)
        try await shell.waits(for: "done")
        withExtendedLifetime(rum) {}
    }

    @Test("One that was killed is no obstacle to the next, and not listed")
    func killed() async throws {
        let guest = try await Guest()
        let options = ["--name", "box", "--auto", "5320-5320"]
        let killed = try guest.startForward(options, environment: environment)
        try await isServed()
        killed.send(SIGKILL)
        try await eventually("its end") { killed.status != nil }
        #expect(try await run("list").lines == ["rum: there are no machines; `rum up` makes one"])
        let asked = try await run("ports", "box")
        #expect(asked.lines.first == "error: nothing forwards the ports of box" && asked.status == 1)
        #expect(asked.lines.last == "hint: `rum forward --name box --agent ADDRESS` does so")

        let agent = try await guest.startAgent()
        let next = try guest.startForward(options, environment: environment)
        let listener = try await guest.listen(port: 5320)
        try await next.waits(for: "Auto-forwarding 127.0.0.1:5320")
        #expect(try await run("list").lines.first?.contains("127.0.0.1:5320") ?? false)
        withExtendedLifetime((agent, listener)) {}
    }
}
