import AgentAPI
import AgentChannel
import AgentSession
import Foundation
import GRPCCore
import SwiftProtobuf
import TestSupport
import Testing

@Suite("A command on a terminal, or as another user", .timeLimit(.minutes(1)))
struct TerminalTests {
    @Test("The terminal is the session's own, has the caller's size, and the variables are there")
    func size() async throws {
        let (exit, said) = try await run(
            "tty; stty size; echo $TERM $X; : </dev/tty && echo own", environment: ["TERM": "dumb", "X": "y"])
        #expect(exit.code == 0)
        #expect(said.contains("/dev/pts/"))
        #expect(said.contains("33 101\r\n"))
        #expect(said.contains("dumb y\r\n"))
        #expect(said.hasSuffix("own\r\n"))
    }

    @Test("A new size reaches the program in the foreground")
    func resize() async throws {
        let (exit, said) = try await run(
            "trap 'stty size; exit 3' WINCH; echo up; while :; do sleep 0.05; done"
        ) {
            await $0.waits(for: "up")
            return [.with { $0.resize = Self.size(50, 132) }]
        }
        #expect(exit.code == 3)
        #expect(said.contains("50 132"))
    }

    @Test("Ctrl-C is typed, and ends what runs in the foreground; the shell goes on")
    func interrupt() async throws {
        let (exit, said) = try await run(
            "trap 'echo caught' INT; sh -c 'echo up; exec sleep 600'; echo on; exit 4"
        ) {
            await $0.waits(for: "up")
            return [.with { $0.stdin = Data([3]) }]
        }
        #expect(exit.code == 4)
        #expect(said.contains("caught"))
        #expect(said.contains("on\r\n"))
    }

    @Test("The end of the input is the end of the file, also behind a line without an end")
    func endOfInput() async throws {
        let (exit, said) = try await run("stty -echo; echo up; cat; echo; echo end") {
            await $0.waits(for: "up")
            return [.with { $0.stdin = Data("half".utf8) }, .with { $0.stdinClosed = true }]
        }
        #expect(exit.code == 0)
        #expect(said.hasSuffix("half\r\nend\r\n"))
    }

    @Test("All output before the command's end arrives")
    func lastOutput() async throws {
        let (exit, said) = try await run("seq 1 50000")
        #expect(exit.code == 0)
        #expect(said.hasSuffix("\r\n49999\r\n50000\r\n"))
        // 288 894 bytes of seq, and a carriage return for each line.
        #expect(said.utf8.count == 338_894)
    }

    @Test("A program left in the background does not hold the end up")
    func background() async throws {
        let (exit, said) = try await run("trap '' HUP; sleep 30 & echo up")
        #expect(exit.code == 0)
        #expect(said == "up\r\n")
    }

    @Test(
        "Nor does one that goes on writing",
        arguments: ["yes", "while echo up; do sleep 0.01; done"])
    func writingBackground(_ program: String) async throws {
        let (exit, said) = try await run("trap '' HUP; seq 1 20000; { \(program); } 2>/dev/null & exit 3")
        #expect(exit.code == 3)
        #expect(said.contains("\r\n20000\r\n"))
    }

    @Test("A terminal that goes away hangs up what runs on it")
    func hangUp() async throws {
        let folder = try TestFolder()
        let told = "\(folder.path)/told"
        await #expect(throws: RPCError.self) {
            try await run("trap 'echo yes >\(told); exit' HUP; echo up; while :; do sleep 0.05; done") {
                await $0.waits(for: "up")
                throw RPCError(code: .cancelled, message: "gone")
            }
        }
        try await eventually("SIGHUP") { FileManager.default.fileExists(atPath: told) }
    }

    @Test("A command as another user has that user's groups, home and variables, and none of the agent's")
    func otherUser() async throws {
        let (exit, said) = try await run(
            "id -un; id -Gn; echo $HOME $USER $LOGNAME $SHELL; pwd; env | grep -c ^RUM_TEST_ || true",
            user: "daemon", hasTerminal: false)
        #expect(exit.code == 0)
        #expect(said == "daemon\ndaemon\n/usr/sbin daemon daemon /usr/sbin/nologin\n/usr/sbin\n0\n")
    }

    @Test("On a terminal too, which belongs to that user")
    func otherUsersTerminal() async throws {
        let (exit, said) = try await run(
            "id -un; stat -c %U $(tty); : </dev/tty && echo mine", user: "daemon")
        #expect(exit.code == 0)
        #expect(said == "daemon\r\ndaemon\r\nmine\r\n")
    }

    @Test("The login shell of a user without one says so")
    func loginShell() async throws {
        let (exit, said) = try await run("", user: "daemon", isLoginShell: true)
        #expect(exit.code == 1)
        #expect(said.contains("not available"))
    }

    /// What a command has said so far.
    private final class Said: Sendable {
        let chunks = Recorder<String>()
        var text: String { chunks.all.joined() }

        func waits(for text: String) async {
            try? await eventually { self.text.contains(text) }
        }
    }

    private static func size(_ rows: UInt32, _ columns: UInt32) -> Rum_V1_TerminalSize {
        .with {
            $0.rows = rows
            $0.columns = columns
        }
    }

    /// Runs a script of sh, sends what `inputs` gives, and returns how it ended and what it said.
    private func run(
        _ script: String, user: String = "", environment: [String: String] = [:], hasTerminal: Bool = true,
        isLoginShell: Bool = false,
        _ inputs: @escaping @Sendable (Said) async throws -> [Rum_V1_ExecInput] = { _ in [] }
    ) async throws -> (Rum_V1_ExecExit, String) {
        let token = MachineToken.random()
        let said = Said()
        let start = Rum_V1_ExecStart.with {
            $0.arguments = ["sh", "-c", script]
            $0.environment = environment
            $0.user = user
            $0.loginShell = isLoginShell
            if hasTerminal { $0.terminal = Self.size(33, 101) }
        }
        let exit = try await withAgent(ScriptedTables(), token: token, showing: token) { agent in
            #expect(agent.info.execVersion == 1)
            return try await agent.exec { writer in
                try await writer.write(.with { $0.start = start })
                for input in try await inputs(said) { try await writer.write(input) }
            } output: {
                said.chunks.add(String(decoding: $0.stdout + $0.stderr, as: UTF8.self))
            }
        }
        return (exit, said.text)
    }
}
