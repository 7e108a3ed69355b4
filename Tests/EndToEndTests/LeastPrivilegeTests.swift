import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import TestSupport
import Testing

/// What an agent that runs no commands needs: the capabilities of the unit in docs/agent.md, each for its reason.
@Suite(
    "rum-agent with few capabilities", .serialized, .timeLimit(.minutes(1)),
    .enabled(if: geteuid() == 0, "takes capabilities away"))
struct LeastPrivilegeTests {
    static let needed: [Capability] = [.bpf, .perfmon, .sysPtrace, .dacReadSearch]

    /// A program of the calling thread's user that has the listener open. It must be a program: what has only forked and
    /// changed its user belongs to root in /proc (PR_SET_DUMPABLE).
    private static func sleeper(holding listener: Int32) throws -> pid_t {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, listener, 3)
        var words: [UnsafeMutablePointer<CChar>?] = [strdup("sleep"), strdup("60"), nil]
        defer { for word in words { free(word) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, "/bin/sleep", &actions, nil, &words, nil)
        guard code == 0 else { throw SystemError(code: code, operation: "posix_spawn") }
        return child
    }

    /// What `rum-agent list` says while another user's process listens.
    private func watch(with capabilities: [Capability]) async throws -> (push: String, process: String?) {
        let guest = try await Guest()
        let child = try await OtherUser.run(in: guest.namespace) {
            let listener = try TestListener(.anyV4, port: 20_001)
            return try Self.sleeper(holding: listener.descriptor.rawValue)
        }
        defer { KernelControl.end(child: child) }
        let agent = try await guest.namespace.run {
            try KernelControl.boundCapabilities(to: capabilities)
            return try Program("rum-agent", ["list", "--json"])
        }
        try await eventually("the agent ended; it said: \(agent.lines)") { agent.status != nil }
        #expect(agent.status == 0)
        let line = try #require(agent.lines.last { $0.hasPrefix("{") })
        let table = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])
        let rows = try #require(table["listeners"] as? [[String: Any]])
        #expect(rows.count == 1)
        return (table["push"] as? String ?? "", rows.first?["process"] as? String)
    }

    @Test("With four capabilities it sees all that root's agent sees")
    func enough() async throws {
        let all = try await watch(with: Self.needed)
        #expect(all.process == "sleep")
        // Nothing is set up for changes that nobody waits for.
        #expect(all.push == "poll")
    }

    @Test("Without the two for other users' processes it names none, and lists the port all the same")
    func unnamed() async throws {
        #expect(try await watch(with: [.perfmon, .dacReadSearch]).process == nil)
        #expect(try await watch(with: [.perfmon, .sysPtrace]).process == nil)
    }

    @Test(
        "Programs need CAP_BPF, where the kernel has them, the tracepoint CAP_PERFMON; with none it polls, and serves"
    )
    func push() async throws {
        for (capabilities, pushes) in [
            (Self.needed, ["push bpf", "push tracepoint"]),
            (Self.needed.filter { $0 != .bpf }, ["push tracepoint"]), ([], ["push poll"]),
        ] {
            let guest = try await Guest()
            let directory = guest.directory
            let agent = try await guest.namespace.run {
                try KernelControl.mountTracefs()
                try KernelControl.boundCapabilities(to: capabilities)
                return try Program("rum-agent", ["--listen", "unix:\(directory)"])
            }
            try await agent.waits(for: "push ")
            #expect(pushes.contains { push in agent.lines.contains { $0.hasSuffix(push) } }, "\(agent.lines)")
            if pushes == ["push poll"] {
                #expect(agent.lines.contains { $0.contains("give the agent CAP_PERFMON") }, "\(agent.lines)")
            }
            let rum = try guest.startForward(["--auto", "20000-20010"])
            let listener = try await guest.listen(port: 20_001)
            try await rum.waits(for: "Auto-forwarding 127.0.0.1:20001")
            withExtendedLifetime(listener) {}
        }
    }
}
