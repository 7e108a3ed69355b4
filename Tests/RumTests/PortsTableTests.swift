import Control
import Testing

@testable import rum

@Suite("The table of forwards")
struct PortsTableTests {
    static var forwards: [OwnerReport.Forward] {
        var idle = OwnerReport.Forward(
            kind: "static", bind: "127.0.0.1", hostPort: 8080, guestPort: 80, state: "open")
        idle.connections = 3
        var open = OwnerReport.Forward(
            kind: "auto", bind: "::1", hostPort: 5001, guestPort: 5001, state: "open")
        open.guestAddress = "0.0.0.0"
        open.process = "python3"
        open.pid = 812
        open.connections = 12
        open.active = 2
        open.bytes = 1_500_000
        open.latencyMicroseconds = 640
        var blocked = OwnerReport.Forward(
            kind: "auto", bind: "127.0.0.1", hostPort: 5002, guestPort: 5002, state: "blocked")
        blocked.guestAddress = "::"
        blocked.process = "no\u{1b}[31mde"
        blocked.reason = "127.0.0.1:5002 is held by node (pid 4121)"
        return [idle, open, blocked]
    }

    @Test("With room, everything is there")
    func wide() {
        #expect(
            PortsTable(Self.forwards, isGuestKnown: true).lines(width: nil) == [
                "HOST            GUEST         STATE    PROCESS         PID        CONNS    BYTES  OPENED IN",
                "127.0.0.1:8080  guest:80      idle     -                 -            3        0          -",
                "[::1]:5001      0.0.0.0:5001  open     python3         812  12 (2 open)  1.4 MiB     0.6 ms",
                "127.0.0.1:5002  [::]:5002     blocked  no\\u{1b}[31mde    -            0        0          -",
                "  127.0.0.1:5002 is held by node (pid 4121)",
            ])
    }

    @Test(
        "What matters least goes first where there is little room, and no line is longer than the terminal",
        arguments: 1...100)
    func narrow(width: Int) {
        let lines = PortsTable(Self.forwards, isGuestKnown: true).lines(width: width)
        #expect(lines.count == 5)
        for line in lines { #expect(line.count <= width) }
        if width >= 60 { #expect(lines[0].contains("PROCESS") && !lines[3].contains("…")) }
    }

    @Test("Without the agent's word nobody says that nothing listens")
    func unknownGuest() {
        let lines = PortsTable(Self.forwards, isGuestKnown: false).lines(width: nil)
        #expect(lines[1].contains("  open ") && !lines[1].contains("idle"))
    }

    @Test("Of no forwards at all it says why, and nothing of a guest that does not answer")
    func nothing() {
        var report = OwnerReport(pid: 7, isBackground: true, rum: "0", forwards: [])
        #expect(report.notes(.machine) == ["there is neither [[ports]] nor [auto_ports]"])
        report.autoRange = "5000-6000"
        #expect(report.notes(.machine) == ["nothing listens in the range 5000-6000 of [auto_ports]"])
        report.agentProblem = "gone"
        #expect(report.notes(.machine) == ["the guest's agent does not answer: gone"])
    }

    @Test("Labels have a column once there is one, and another host port than the wanted one is explained")
    func labels() {
        var forwards = Array(Self.forwards.dropFirst().prefix(1))
        forwards[0].label = "web"
        forwards[0].reason = "[::1]:5000 is taken"
        #expect(
            PortsTable(forwards, isGuestKnown: true).lines(width: nil) == [
                "HOST        GUEST         STATE  LABEL  PROCESS  PID        CONNS    BYTES  OPENED IN",
                "[::1]:5001  0.0.0.0:5001  open   web    python3  812  12 (2 open)  1.4 MiB     0.6 ms",
                "  [::1]:5000 is taken",
            ])
    }

    @Test("Sizes and times are short")
    func units() {
        #expect(PortsTable.bytes(0) == "0" && PortsTable.bytes(1023) == "1023")
        #expect(PortsTable.bytes(1024) == "1.0 KiB" && PortsTable.bytes(.max) == "16.0 EiB")
        #expect(PortsTable.time(nil) == "-" && PortsTable.time(40) == "0.0 ms")
        #expect(PortsTable.time(12_345) == "12.3 ms" && PortsTable.time(2_500_000) == "2.5 s")
    }

    @Test(
        "Only a terminal that says what it is gets the live view",
        arguments: [("xterm-256color", true), ("dumb", false), ("", false), (nil, false)])
    func terminal(kind: String?, isFit: Bool) { #expect(Screen.isUnderstood(by: kind) == isFit) }

    @Test("The live view keeps to the terminal's size", arguments: [(80, 24), (40, 5), (20, 3), (5, 1)])
    func view(columns: Int, rows: Int) {
        var report = OwnerReport(
            pid: 7, isBackground: true, rum: "0.1.0",
            forwards: [OwnerReport.Forward](repeating: Self.forwards[1], count: 50))
        report.agentProblem = "lost"
        let size = TerminalSize(columns: columns, rows: rows)
        let picture = Screen.picture(PortsWatch.lines(report, machine: "dev", .machine, size), size)
        let lines = picture.split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.count <= rows)
        for line in lines {
            let text = line.replacing("\u{1b}[H", with: "").replacing("\u{1b}[K", with: "").replacing(
                "\u{1b}[J", with: "")
            #expect(text.count <= columns && !text.contains("\u{1b}"))
        }
    }
}
