import Linux
import LiveKernel
import Ports
import Testing

@testable import ListenWatch

@Suite("What to do about a source of hints that is refused")
struct HintPermissionTests {
    struct Row: CustomTestStringConvertible, Sendable {
        var held: Set<Capability>?
        var paranoid: Int?
        var cure: String

        var testDescription: String { "\(held.map { "\($0)" } ?? "unknown") at \(paranoid ?? -9)" }
    }

    @Test(
        "perf events",
        arguments: [
            Row(held: [], paranoid: 2, cure: "give the agent CAP_PERFMON, before Linux 5.8 CAP_SYS_ADMIN"),
            Row(held: [.bpf], cure: "give the agent CAP_PERFMON, before Linux 5.8 CAP_SYS_ADMIN"),
            Row(
                held: [.perfmon, .bpf], paranoid: 3,
                cure: "while kernel.perf_event_paranoid is 3 the agent needs CAP_SYS_ADMIN; or set it to 2"),
            Row(
                held: [], paranoid: 4,
                cure:
                    "while kernel.perf_event_paranoid is 4 the agent needs CAP_SYS_ADMIN; or set it to 2 and give the agent CAP_PERFMON"
            ),
            Row(held: [.perfmon], paranoid: 2, cure: "this kernel or a security module forbids it"),
            Row(held: [.sysAdmin], paranoid: 3, cure: "this kernel or a security module forbids it"),
            Row(held: nil, paranoid: 3, cure: "this kernel or a security module forbids it"),
        ])
    func perfEvents(_ row: Row) {
        #expect(HintPermission.perfEvents(held: row.held, paranoid: row.paranoid) == row.cure)
    }

    @Test("Programs")
    func programs() {
        let missing = "give the agent CAP_BPF and CAP_PERFMON, before Linux 5.8 CAP_SYS_ADMIN"
        #expect(HintPermission.programs(held: []) == missing)
        #expect(HintPermission.programs(held: [.perfmon]) == missing)
        #expect(HintPermission.programs(held: [.perfmon, .bpf]) == "this kernel forbids it")
        #expect(HintPermission.programs(held: [.sysAdmin]) == "this kernel forbids it")
        #expect(HintPermission.programs(held: nil) == "this kernel forbids it")
    }

    @Test("Tracefs")
    func tracefs() {
        let missing = "mount it at /sys/kernel/tracing, as systemd does, or give the agent CAP_SYS_ADMIN"
        #expect(HintPermission.tracefs(held: [.perfmon, .bpf]) == missing)
        #expect(HintPermission.tracefs(held: [.sysAdmin]) == "this kernel or a security module forbids it")
        #expect(HintPermission.tracefs(held: nil) == "this kernel or a security module forbids it")
    }

    @Test("A watcher without a capability says which, as long as it lacks it", arguments: [true, false])
    func live(tracefsIsMounted: Bool) async throws {
        // Opened here, with the privilege, since a machine may have none.
        let tracefs = try KernelControl.detachedTracefs()
        let watching = try await Watching {
            $0.prepareThread = KernelControl.dropPerfCapabilities
            $0.tracefs = TraceFS(
                mounts: tracefsIsMounted ? ["/proc/self/fd/\(tracefs.rawValue)"] : [], mayDetach: true)
        }
        let degraded = try #require(watching.watcher.source.degraded)
        #expect(degraded.hasPrefix("no tracepoint events: \(tracefsIsMounted ? "on CPU" : "tracefs")"))
        #expect(degraded.contains("CAP_"), "\(degraded)")
        #expect(watching.log.contains(degraded))
        withExtendedLifetime(tracefs) {}
    }
}
