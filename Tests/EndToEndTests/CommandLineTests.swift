import Glibc
import Linux
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
            ("rum", "forward --agent unix:/tmp --auto 9-1", "'--auto <min-max>': expected min-max such as"),
            ("rum", "forward --agent unix:/tmp --auto 1-2 --ignore 0", "expected a port from 1 to 65535"),
            ("rum", "forward --agent unix:/tmp --auto 1-2 --bind x", "expected an IP address such as"),
            ("rum", "forward --agent unix:/tmp --auto 1-2 --hold 2h", "expected a time such as"),
            ("rum", "forward --agent unix:/tmp --port 80", "expected a forward such as 8080:80"),
            ("rum", "up --wait 70000", "expected a port from 1 to 65535"),
            ("rum", "down --timeout 5h", "expected a time such as"),
            ("rum", "ports wait 5001 --http 20", "expected a status from 100 to 599"),
            ("rum", "forward --agent unix:/tmp --port 81:80 --port 81:82", "given twice"),
            ("rum", "forward --agent unix:/tmp --port 5001:80 --auto 5000-6000", "--ignore"),
            ("rum", "forward --agent tcp:127.0.0.1 --auto 1-2", "--token-file"),
            ("rum", "sideways", "there is no command 'rum sideways'"),
            ("rum", "statsu", "did you mean 'rum status'?"),
            ("rum", "ports wiat 5001", "did you mean 'rum ports wait'?"),
            ("rum", "help sideways", "there is no command 'rum sideways'"),
            ("rum", "help ports wiat", "did you mean 'rum ports wait'?"),
            ("rum", "-c/nowhere/x.toml status", "/nowhere/x.toml: cannot be read"),
            ("rum", "status -c/nowhere/x.toml", "/nowhere/x.toml: cannot be read"),
            ("rum", "ports why 99999", "expected a port from 1 to 65535, not \"99999\""),
            ("rum", "ports add", "give a forward such as 8080:80"),
            ("rum", "exec -c x dev -- true", "hint: See 'rum exec --help'"),
            ("rum", "ssh -c x dev -- true", "hint: See 'rum ssh --help'"),
            ("rum-agent", "--mode=sideways", "netlink"),
            ("rum-agent", "--listen tcp:0.0.0.0", "--token-file"),
            ("rum-agent", "list --range 0-9", "'--range <min-max>': expected min-max such as"),
            ("rum-agent", "--listen unix", "expected vsock, unix:DIR or tcp:HOST[:PORT]"),
        ])
    func badUsage(program: String, arguments: String, says: String) async throws {
        let run = try Program(program, arguments.split(separator: " ").map(String.init))
        try await eventually("\(program) ended") { run.status != nil }
        #expect(run.status == 2)
        #expect(run.lines.contains { $0.contains(says) }, "it said: \(run.lines)")
    }

    @Test(
        "What keeps a command from the guest is no exit code of the command's own",
        arguments: ["exec", "ssh"])
    func noMachine(command: String) async throws {
        let run = try Program("rum", [command, "nosuch", "--", "true"])
        try await eventually("rum ended") { run.status != nil }
        #expect(run.status == 255)
        #expect(run.lines.first == "error: there is no machine nosuch")
    }

    @Test(
        "Standard output that cannot be written is told, and no success",
        arguments: [
            ("list --json >/dev/full", "No space left on device", "free disk space"),
            ("--help >/dev/full", "No space left on device", "free disk space"),
            ("list --json >&-", "Bad file descriptor", "nothing was open for it"),
        ])
    func unwritable(words: String, reason: String, hint: String) async throws {
        let run = try Program("/bin/sh", ["-c", "exec \(builtPrograms)/rum \(words)"])
        try await eventually("rum ended") { run.status != nil }
        #expect(run.status == 1)
        #expect(run.lines.first == "error: standard output cannot be written: \(reason)")
        #expect(
            run.lines.last?.hasPrefix("hint: ") == true && run.lines.last?.contains(hint) == true,
            "\(run.lines)")
    }

    @Test("Who has read enough is no failure to tell of")
    func closedPipe() async throws {
        let script = """
            import os, subprocess
            reader, writer = os.pipe()
            os.close(reader)
            print(subprocess.run(["\(builtPrograms)/rum", "images", "list"], stdout=writer).returncode)
            """
        let run = try Program("/usr/bin/python3", ["-c", script])
        try await eventually("rum ended") { run.status != nil }
        #expect(run.lines == ["1"])
    }

    @Test("A token file that holds no token is refused with what it should hold")
    func badToken() async throws {
        let run = try Program(
            "rum", ["forward", "--agent", "tcp:127.0.0.1", "--auto", "1-2", "--token-file", "/dev/null"])
        try await eventually("rum ended") { run.status != nil }
        #expect(run.status == 1)
        #expect(run.lines.last?.hasPrefix("hint: ") == true)
    }

    @Test(
        "The help of a command, of one in a group, and of help are there",
        arguments: ["up", "ports wait", "ports", "help"])
    func helpOf(command: String) async throws {
        let run = try Program("rum", ["help"] + command.split(separator: " ").map(String.init))
        try await eventually("rum ended") { run.status != nil }
        #expect(run.status == 0 && run.lines.contains { $0.hasPrefix("USAGE: rum") }, "it said: \(run.lines)")
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

    @Test("What a process calls itself reaches no terminal raw", arguments: [[], ["--json"]])
    func hostileName(options: [String]) async throws {
        let guest = try await Guest()
        let script = """
            import socket, time
            open("/proc/self/comm", "wb").write(b"\\x1b[2J\\xc2\\x9b\\xe2\\x80\\xae")
            listener = socket.create_server(("127.0.0.1", 5001))
            print("listens", flush=True)
            time.sleep(600)
            """
        let server = try await guest.start("/usr/bin/python3", ["-c", script])
        try await server.waits(for: "listens")
        let list = try await guest.start("rum-agent", ["list"] + options)
        try await eventually("rum-agent ended") { list.status != nil }
        #expect(list.lines.contains { $0.contains("5001") && $0.contains("[2J") }, "it said: \(list.lines)")
        let areShown = list.lines.allSatisfy { $0.unicodeScalars.allSatisfy(\.isPrintable) }
        #expect(areShown, "it said: \(list.lines)")
    }
}
