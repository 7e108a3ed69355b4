import Glibc
import TestSupport
import Testing

/// What a user gets for a wrong or incomplete command line.
@Suite("The command lines", .timeLimit(.minutes(1)))
struct CommandLineTests {
    @Test(
        "Bad usage is exit code 2 and says what was expected",
        arguments: [
            ("rum", "forward --agent unix:/tmp", "nothing to forward"),
            ("rum", "forward --agent serial:1 --auto 1-2", "--agent"),
            ("rum", "forward --agent vsock:2 --auto 1-2", "--agent"),
            ("rum", "forward --agent unix:/tmp --auto 9-1", "--auto"),
            ("rum", "forward --agent unix:/tmp --port 80", "--port"),
            ("rum", "forward --agent unix:/tmp --port 81:80 --port 81:82", "given twice"),
            ("rum", "forward --agent unix:/tmp --port 5001:80 --auto 5000-6000", "--ignore"),
            ("rum", "forward --agent tcp:127.0.0.1 --auto 1-2", "--token-file"),
            ("rum", "sideways", "sideways"),
            ("rum-agent", "--mode=sideways", "netlink"),
            ("rum-agent", "--listen tcp:0.0.0.0", "--token-file"),
            ("rum-agent", "list --range 0-9", "--range"),
        ])
    func badUsage(program: String, arguments: String, says: String) async throws {
        let run = try Program(program, arguments.split(separator: " ").map(String.init))
        try await eventually("\(program) ended") { run.status != nil }
        #expect(run.status == 2)
        #expect(run.lines.contains { $0.contains(says) }, "it said: \(run.lines)")
    }

    @Test("A token file that holds no token is refused with what it should hold")
    func badToken() async throws {
        let run = try Program(
            "rum", ["forward", "--agent", "tcp:127.0.0.1", "--auto", "1-2", "--token-file", "/dev/null"])
        try await eventually("rum ended") { run.status != nil }
        #expect(run.status == 1)
        #expect(run.lines.last?.hasPrefix("hint: ") == true)
    }

    @Test("The version and the help are there, and successful", arguments: ["rum", "rum-agent"])
    func help(program: String) async throws {
        for flag in ["--version", "--help"] {
            let run = try Program(program, [flag])
            try await eventually("\(program) ended") { run.status != nil }
            #expect(run.status == 0)
            #expect(!run.lines.isEmpty)
        }
    }
}
