import ArgumentParser
import Foundation
import TestSupport
import Testing

@testable import rum

@Suite("Words behind rum exec, ssh and cp")
struct WayInTests {
    @Test(
        "The first word is the machine's name if it is one, or if -- follows it",
        arguments: [
            (["dev", "ls", "-l"], "dev", ["ls", "-l"]),
            (["ls", "-l"], nil, ["ls", "-l"]),
            (["other", "--", "ls"], "other", ["ls"]),
            (["--", "dev", "ls"], nil, ["dev", "ls"]),
            (["dev", "--", "--", "x"], "dev", ["--", "x"]),
            (["dev"], "dev", []), ([], nil, []),
            (["-L", "80:localhost:80"], nil, ["-L", "80:localhost:80"]),
        ] as [([String], String?, [String])])
    func machine(words: [String], name: String?, rest: [String]) {
        let split = MachineWords(words) { $0 == "dev" }
        #expect(split.name == name)
        #expect(split.rest == rest)
    }

    @Test("Options of rum exec end where the command begins")
    func options() throws {
        let options = try ExecOptions.parse([
            "--root", "-w", "/tmp", "-e", "A=b", "-T", "ls", "--root", "-w", "--help",
        ])
        let (all, name, command) = try options.resolved()
        #expect(name == nil)
        #expect(command == ["ls", "--root", "-w", "--help"])
        #expect(all.place.root && all.noTerminal && !all.terminal)
        #expect(all.place.directory == "/tmp")
        #expect(try all.request().environment == ["A": "b"])
    }

    @Test(
        "~. at the beginning of a line leaves the guest; any other tilde is typed",
        arguments: [
            ("~.", "", true), ("ls\r~.x", "ls\r", true), ("a~.", "a~.", false), ("~~.", "~.", false),
            ("~a\r~", "~a\r", false), ("~\r~.", "~\r", true),
        ])
    func escape(typed: String, sent: String, leaves: Bool) {
        // At once, and byte by byte.
        var escape = ExecEscape()
        let whole = escape.filter(Array(typed.utf8))
        #expect(whole.toGuest == Array(sent.utf8))
        #expect(whole.leaves == leaves)
        var slow = ExecEscape()
        var parts: [UInt8] = []
        for byte in typed.utf8 {
            let part = slow.filter([byte])
            parts += part.toGuest
            if part.leaves { break }
        }
        #expect(parts == Array(sent.utf8))
    }

    @Test("Help is asked for before the command, not behind it")
    func help() throws {
        for words in [["--help"], ["-h"], ["--root", "--help"]] {
            #expect(throws: (any Error).self) { try ExecCommand.parse(words) }
        }
        #expect(throws: (any Error).self) { try SshCommand.parse(["--help"]) }
        _ = try ExecCommand.parse(["ls", "--help"])
        _ = try SshCommand.parse(["ls", "--help"])
    }

    @Test("Copies have one side in the guest")
    func copies() throws {
        let up = try CopyPlan(["a b", "./c:d", "dev:x y"])
        #expect(up.machine == "dev")
        #expect(up.words(for: "rum-dev") == ["./a b", "./c:d", "rum-dev:x y"])
        let down = try CopyPlan([":/etc/hosts", "."])
        #expect(down.machine.isEmpty)
        #expect(down.words(for: "rum-dev") == ["rum-dev:/etc/hosts", "."])
        for wrong in [["a"], ["a", "b"], [":a", ":b"], ["dev:a", "other:b", "c"], ["a", ":b", ":c"]] {
            #expect(throws: ValidationError.self) { try CopyPlan(wrong) }
        }
    }

    @Test("The program of rum cp --root is a script that the shell reads, wherever rum is")
    func sftpAsRoot() throws {
        let folder = try TestFolder()
        let program = try folder.file("it's here/rum", "#!/bin/sh\necho \"$1 $2 $3 $4 $5 $6 $#\"\n")
        #expect(chmod(program, 0o755) == 0)
        let script = SftpAsRoot.script(program: program, machine: "dev")
        let shell = Process()
        shell.executableURL = URL(fileURLWithPath: "/bin/sh")
        shell.arguments = ["-c", script]
        let output = Pipe()
        shell.standardOutput = output
        try shell.run()
        shell.waitUntilExit()
        let said = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
        #expect(said == "exec --root -T dev -- sh 8\n")
    }

    @Test("Paths are quoted for OpenSSH and for the shell")
    func quoting() {
        #expect(SshSettings.quoted("/a/b") == "/a/b")
        #expect(SshSettings.quoted("/a b/50%") == "\"/a b/50%%\"")
        #expect(SshSettings.shellQuoted("/a/b") == "/a/b")
        #expect(SshSettings.shellQuoted("/a b/it's") == "'/a b/it'\\''s'")
        #expect(SshSettings.shellQuoted("") == "''")
    }
}
