import Foundation
import Glibc
import TestSupport
import Testing

/// `rum forward --agent ssh:`, with a program that stands for ssh.
@Suite("The way through ssh", .timeLimit(.minutes(1)))
struct SshWayTests {
    private let folder: TestFolder

    init() throws { folder = try TestFolder() }

    /// Starts `rum forward` through an ssh that runs `script`.
    private func start(_ script: String) throws -> Program {
        let ssh = try folder.file("bin/ssh", "#!/bin/sh\n\(script)\n")
        #expect(chmod(ssh, 0o755) == 0)
        let token = try folder.file("token", String(repeating: "5a", count: 32) + "\n")
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        return try Program(
            "rum", ["forward", "--agent", "ssh:box", "--auto", "5350-5359", "--token-file", token],
            environment: ["RUM_HOME": folder.path, "PATH": "\(folder.path)/bin:\(path)"])
    }

    /// Whether a process is there that has not ended: one that nobody waits for has no command line.
    private func runs(_ pid: String) -> Bool {
        FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")?.isEmpty == false
    }

    @Test("ssh ends with rum forward, also when that is killed, and nothing of it is left")
    func killed() async throws {
        let rum = try start(
            "echo $$ >'\(folder.path)/pid.new'; mv '\(folder.path)/pid.new' '\(folder.path)/pid'; exec sleep 600"
        )
        try await eventually("ssh") { FileManager.default.fileExists(atPath: folder.path + "/pid") }
        let ssh = try readText(folder.path + "/pid").trimmingCharacters(in: .whitespacesAndNewlines)
        let sockets = "\(folder.path)/agents/box/\(rum.pid)"
        // In the midst of its exec it has no command line for a moment.
        try await eventually("sleep in its place") { runs(ssh) }
        #expect(FileManager.default.fileExists(atPath: sockets))
        rum.send(SIGKILL)
        try await eventually("the end of ssh") { !runs(ssh) }
        try await eventually("the folder removed") { !FileManager.default.fileExists(atPath: sockets) }
    }

    @Test("An ssh that ends is told once, and started again")
    func ended() async throws {
        let rum = try start("echo began >>'\(folder.path)/starts'; echo 'no route to it' >&2; exit 255")
        try await rum.waits(for: "ssh box ended: no route to it")
        try await eventually("a second start") {
            try readText(folder.path + "/starts").split(separator: "\n").count >= 2
        }
        #expect(rum.lines.count { $0.contains("no route to it") } == 1)
    }
}
