@preconcurrency import Glibc
import LiveKernel
import Ports

/// Measures the agent and its watcher beside what others do, and prints markdown tables.
///
/// `--rum PATH --agent PATH` name the programs; without them what needs them is left out. `candidate NAME`,
/// `hold COUNT`, `churn RATE`, `follow FOLDER` and `server` are the child processes that it starts for itself.
@main
struct BenchWatch {
    static func main() async throws {
        setvbuf(stdout, nil, _IOLBF, 0)
        let arguments = CommandLine.arguments.dropFirst()
        if arguments.first == "candidate", let name = arguments.dropFirst().first {
            return try await Candidate.run(name, push: arguments.dropFirst(2).first)
        }
        if arguments.first == "hold", let count = arguments.dropFirst().first.flatMap(Int.init) {
            raiseFileLimit()
            return try Connections.hold(count)
        }
        if arguments.first == "churn", let rate = arguments.dropFirst().first.flatMap(Int.init) {
            return try IdleBench.churn(rate)
        }
        if arguments.first == "follow", let directory = arguments.dropFirst().first {
            return try await Product.follow(directory)
        }
        if arguments.first == "server" { return try BudgetBench.serve() }
        raiseFileLimit()
        func value(_ option: String) -> String? {
            arguments.firstIndex(of: option).map { arguments.index(after: $0) }
                .flatMap { arguments.indices.contains($0) ? arguments[$0] : nil }
        }
        let only = value("--only")
        func section(_ name: String, _ body: () async throws -> Void) async throws {
            if only == nil || only == name { try await body() }
        }
        try await section("snapshot") { try await SnapshotBench.run() }
        if only == "push" { return try await PushBench.run() }
        guard let rum = value("--rum"), let agent = value("--agent") else { return }
        try await section("detection") { try await DetectionBench.run(agent: agent) }
        try await section("idle") {
            try await IdleBench.run(
                agent: agent, seconds: value("--idle-seconds").flatMap(Int.init) ?? 60,
                repeats: value("--idle-runs").flatMap(Int.init) ?? 3)
        }
        try await section("connections") { try await ConnectionBench.run(agent: agent) }
        try await section("storm") { try await StormBench(agent: agent).run() }
        try await section("budget") {
            try await BudgetBench(
                rum: rum, agent: agent, samples: value("--samples").flatMap(Int.init) ?? 400
            ).run()
        }
        try await section("forward") { try await ForwardBench(rum: rum, agent: agent).run() }
    }

    /// 10 000 listeners or connections are many descriptors; more than the hard limit needs CAP_SYS_RESOURCE.
    private static func raiseFileLimit() {
        let files = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit(rlim_cur: 30_000, rlim_max: 30_000)
        if setrlimit(files, &limit) == 0 { return }
        getrlimit(files, &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(files, &limit)
    }
}
