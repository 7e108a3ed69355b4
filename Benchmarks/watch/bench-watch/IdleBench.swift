import Glibc
import Linux
import LiveKernel
import Ports

/// What the agent and the candidates cost when nothing happens, or nothing that concerns them.
enum IdleBench {
    static func run(agent: String, seconds: Int, repeats: Int) async throws {
        let scene = try await Scene()
        defer { scene.end() }
        let product = try await Product(agent: agent, in: scene.namespace)
        // What the start left behind, such as the scan for the processes of older listeners, is not idling.
        try await Task.sleep(for: .seconds(3))
        Measure.header(
            "The agent with one follower, idle for \(seconds) s beside 1 000 connections and 30 listeners",
            [
                "run", "CPU of one core", "of it the watcher's thread", "wake-ups", "the watcher's",
                "memory, MiB",
            ])
        var threads: [String: Int64] = [:]
        for run in 1...repeats {
            let sample = try await sample(product.agent, seconds: seconds)
            Measure.row(["\(run)"] + sample.cells)
            for (name, time) in sample.threads { threads[name, default: 0] += time }
        }
        print("\nBy thread, over all runs: " + text(threads, seconds: seconds * repeats) + ".")

        Measure.header(
            "The same beside another namespace that listens and closes 100 times a second",
            [
                "run", "CPU of one core", "of it the watcher's thread", "wake-ups", "the watcher's",
                "memory, MiB",
            ])
        let churn = try await Child(
            [CommandLine.arguments[0], "churn", "100"], in: try await NetworkNamespace())
        for run in 1...repeats {
            let sample = try await sample(product.agent, seconds: min(seconds, 20))
            Measure.row(["\(run)"] + sample.cells)
        }
        churn.end()
        product.end()

        var children: [(Candidate, Child)] = []
        for candidate in Candidate.allCases { children.append((candidate, try await scene.start(candidate))) }
        defer { for (_, child) in children { child.end() } }
        try await Task.sleep(for: .seconds(3))
        let before = children.map { ($0.1.cpuTime, $0.1.wakeUps()) }
        try await Task.sleep(for: .seconds(seconds))
        Measure.header(
            "Side by side for \(seconds) s, without agent and follower",
            ["candidate", "CPU of one core", "wake-ups"])
        for ((candidate, child), (cpu, wakes)) in zip(children, before) {
            Measure.row([
                candidate.title, percent(child.cpuTime - cpu, seconds), "\(child.wakeUps() - wakes)",
            ])
        }
    }

    /// Listens and closes `rate` times a second, until it is killed.
    static func churn(_ rate: Int) throws {
        while true {
            _ = try TestListener(.loopbackV4)
            usleep(useconds_t(1_000_000 / rate))
        }
    }

    private struct Sample {
        var cells: [String]
        var threads: [String: Int64]
    }

    private static func sample(_ agent: Child, seconds: Int) async throws -> Sample {
        let (cpu, wakes) = (agent.cpuTime, agent.wakeUps())
        let watcherWakes = agent.wakeUps(ofThreads: "listen-watch")
        let before = ProcessFiles.threads(of: agent.pid)
        try await Task.sleep(for: .seconds(seconds))
        var threads = ProcessFiles.threads(of: agent.pid)
        for (name, time) in before { threads[name, default: 0] -= time }
        return Sample(
            cells: [
                percent(agent.cpuTime - cpu, seconds), percent(threads["listen-watch"] ?? 0, seconds),
                "\(agent.wakeUps() - wakes)", "\(agent.wakeUps(ofThreads: "listen-watch") - watcherWakes)",
                Measure.fixed(ProcessFiles.mebibytes("VmRSS", of: agent.pid), 1),
            ], threads: threads)
    }

    private static func percent(_ nanoseconds: Int64, _ seconds: Int) -> String {
        Measure.fixed(Double(nanoseconds) / Double(seconds) / 1e7, 4) + " %"
    }

    private static func text(_ threads: [String: Int64], seconds: Int) -> String {
        threads.filter { $0.value > 0 }.sorted { $0.value > $1.value }
            .map { "\($0.key) \(percent($0.value, seconds))" }.joined(separator: ", ")
    }
}
