import Foundation
import Glibc
import TestSupport
import Testing

@testable import Machine

/// Runs the scripts of the seed on this host, in a folder of their own.
@Suite("Provisioning")
struct ProvisionTests {
    let folder: TestFolder

    init() throws { folder = try TestFolder() }

    /// The seed's file `name`, installed with its paths in the folder.
    private func install(_ name: String, _ files: [String: String]) throws -> String {
        let text = try #require(files[name]).replacing("/run/rum", with: folder.path + "/run")
            .replacing("/var/lib/rum", with: folder.path).replacing("tries=600", with: "tries=1")
        let path = try folder.file(name, text)
        #expect(chmod(path, 0o700) == 0)
        return path
    }

    /// Runs provisioning to its end; what it says, and the state afterwards.
    private func run(
        system: String? = nil, boot: String? = nil
    ) async throws -> (outcome: Tool.Outcome, state: ProvisionState?, followed: String) {
        let files = GuestSeed(
            instanceID: "i", hostname: "h", user: "root", authorizedKeys: [], listen: [], token: "t",
            bundleDigest: "d", systemScript: system, bootScript: boot
        ).files
        for name in ["provision-system", "provision-boot"] {
            try? FileManager.default.removeItem(atPath: "\(folder.path)/\(name)")
            if files[name] != nil { _ = try install(name, files) }
        }
        let provision = try install("provision", files)
        let report = try install("provision-report", files)
        let env = Tool(name: "env", package: "coreutils")
        async let following = env.outcome(of: ["sh", report, "follow"])
        let outcome = try await env.outcome(of: ["RUM_USER=root", "sh", provision])
        let state = try await env.output(of: ["sh", report, "state"])
        return (outcome, ProvisionState(line: state), try await following.output)
    }

    @Test("Both scripts run, with a home and a path, and what they say is shown")
    func success() async throws {
        let result = try await run(system: "echo one; echo $HOME $USER", boot: "echo two >&2")
        #expect(result.outcome.exitCode == 0)
        #expect(result.outcome.output == "one\n/root root\ntwo\n")
        #expect(result.followed == "one\n/root root\ntwo\n")
        #expect(result.state?.progress == .succeeded)
        #expect(result.state?.script == "boot")
    }

    @Test("The first script runs until it has succeeded once, the second every time")
    func once() async throws {
        let failed = try await run(system: "echo no; exit 7", boot: "echo two")
        #expect(failed.outcome.exitCode == 7)
        #expect(failed.followed == "no\n")
        #expect(
            failed.state?.text.hasPrefix("failed: the system script ended with exit code 7 after ") == true)
        #expect(try await run(system: "echo yes", boot: "echo two").outcome.output == "yes\ntwo\n")
        #expect(try await run(system: "echo yes", boot: "echo two").outcome.output == "two\n")
    }

    @Test("What a script leaves running keeps nothing from ending", .timeLimit(.minutes(1)))
    func daemon() async throws {
        let result = try await run(system: "sleep 300 & echo $! >\(folder.path)/pid; echo started")
        #expect(result.state?.progress == .succeeded)
        #expect(result.followed == "started\n")
        if let pid = pid_t(try readText(folder.path + "/pid").filter(\.isNumber)) { kill(pid, SIGKILL) }
    }

    @Test("Without scripts it succeeds and has nothing to tell")
    func nothing() async throws {
        let result = try await run()
        #expect(result.state == ProvisionState(line: "succeeded - 0 \(result.state?.seconds ?? 0)"))
        #expect(result.state?.script == nil)
    }

    @Test(
        "A guest that says something else is not believed",
        arguments: [
            "", "ready - 0 0", "failed system", "failed x 1 1", "failed system -1 0", "failed system 300 0",
            "failed system 1 99999999999", "failed system 1 1 1", "\u{1b}[2J",
        ])
    func nonsense(line: String) {
        #expect(ProvisionState(line: line) == nil)
    }
}
