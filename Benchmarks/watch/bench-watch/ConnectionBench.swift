import Glibc
import Linux
import ListenWatch
import LiveKernel
import Ports

/// What the watcher adds to ordinary connections.
///
/// First the tracepoint alone, opened by this process as the agent opens it, in rounds that take turns within milliseconds:
/// neither an agent's start nor its end falls into them. Then the whole agent, once its start is over.
enum ConnectionBench {
    private static let turns = 120
    private static let connections = 500
    private static let agentTurns = 20

    private struct Cost {
        /// Nanoseconds of one connection: the thread that makes it, and the kernel's own threads.
        var thread: Int64
        var kernel: Int64

        /// How much more this is, in hundredths of a percent.
        func added(to base: Cost) -> Int64 { (thread - base.thread) * 10_000 / base.thread }
    }

    private enum Way: String, CaseIterable {
        case nothing = "no event"
        case filtered = "the tracepoint with the watcher's filter"
        case oneTerm = "the tracepoint with a filter of one term that never holds"
    }

    static func run(agent: String) async throws {
        let scene = try await Scene()
        defer { scene.end() }
        try await tracepoint(scene)
        try await wholeAgent(scene, agent)
    }

    private static func tracepoint(_ scene: Scene) async throws {
        var costs: [Way: [Cost]] = [:]
        _ = try await cost(scene)
        for turn in 0..<turns {
            // Each way comes first as often as last.
            let order = turn % 2 == 0 ? Way.allCases : Way.allCases.reversed()
            for way in order {
                let rings = try open(way)
                costs[way, default: []].append(try await cost(scene))
                withExtendedLifetime(rings) {}
            }
        }
        Measure.header(
            "CPU of one connection: connect, accept, reset (\(turns) turns of \(connections) each)",
            [
                "microseconds", "thread, median", "least", "added, median of the pairs",
                "first and third quartile",
            ])
        let base = costs[.nothing] ?? []
        for way in Way.allCases {
            let these = costs[way] ?? []
            row(way.rawValue, these, zip(these, base).map { $0.added(to: $1) })
        }
    }

    private static func wholeAgent(_ scene: Scene, _ agent: String) async throws {
        var without: [Cost] = []
        var with: [Cost] = []
        var wakeUps = 0
        var agentTime: Int64 = 0
        for _ in 0..<agentTurns {
            without.append(try await cost(scene, rounds: 3))
            let product = try await Product(agent: agent, in: scene.namespace)
            try await settle(product.agent)
            let (wakes, cpu) = (product.agent.wakeUps(ofThreads: "listen-watch"), product.agent.cpuTime)
            with.append(try await cost(scene, rounds: 3))
            wakeUps += product.agent.wakeUps(ofThreads: "listen-watch") - wakes
            agentTime += product.agent.cpuTime - cpu
            product.end()
        }
        Measure.header(
            "The same with the whole agent and a follower (\(agentTurns) pairs of \(3 * connections) each)",
            [
                "microseconds", "thread, median", "least", "added, median of the pairs",
                "first and third quartile",
            ])
        row("without the agent", without, without.map { _ in 0 })
        row("with agent and follower", with, zip(with, without).map { $0.added(to: $1) })
        let kernel = zip(with, without).map {
            ($0.thread + $0.kernel - $1.thread - $1.kernel) * 10_000 / ($1.thread + $1.kernel)
        }
        let total = agentTurns * 3 * connections
        print(
            "\nWith the kernel's threads: \(percent(Measure.quantile(kernel, 0.5))). During \(total) connections the "
                + "watcher woke \(wakeUps) times and the agent took "
                + "\(Measure.fixed(Double(agentTime) / Double(total) / 1000, 3)) us for each.")
    }

    private static func open(_ way: Way) throws -> [PerfRing] {
        if way == .nothing { return [] }
        let id = try TraceFS.standard.event(ListenTracepoint.name).id
        let filter = way == .filtered ? ListenTracepoint.filter : "protocol == 1"
        return try ProcessFiles.onlineCPUs.map { try PerfRing(.tracepoint(id, filter: filter), cpu: $0) }
    }

    /// Waits until the agent's start, such as its scan for the processes of older listeners, is over: no millisecond of
    /// work within half a second.
    private static func settle(_ agent: Child) async throws {
        var last = agent.cpuTime
        for _ in 0..<20 {
            try await Task.sleep(for: .milliseconds(500))
            let now = agent.cpuTime
            if now - last < 1_000_000 { return }
            last = now
        }
    }

    private static func row(_ title: String, _ costs: [Cost], _ added: [Int64]) {
        let thread = costs.map(\.thread)
        Measure.row([
            title, Measure.microseconds(Measure.quantile(thread, 0.5)),
            Measure.microseconds(thread.min() ?? 0),
            percent(Measure.quantile(added, 0.5)),
            percent(Measure.quantile(added, 0.25)) + " to " + percent(Measure.quantile(added, 0.75)),
        ])
    }

    private static func percent(_ hundredths: Int64) -> String {
        Measure.fixed(Double(hundredths) / 100, 1) + " %"
    }

    /// On loopback the soft interrupts of both ends run on the connecting thread as well.
    private static func cost(_ scene: Scene, rounds: Int = 1) async throws -> Cost {
        try await scene.namespace.run {
            try KernelControl.pin(cpu: 0)
            let listener = try TestListener(.loopbackV4)
            let (load, start) = (MachineLoad.now, KernelControl.cpuTime())
            for _ in 0..<rounds * connections { try TestConnection(to: listener).reset() }
            let thread = KernelControl.cpuTime() - start
            // Work that was put off, such as freeing by RCU, is part of the connections.
            usleep(rounds > 1 ? 30_000 : 5000)
            let all = MachineLoad.now - load
            let count = Int64(rounds * connections)
            return Cost(thread: thread / count, kernel: all.kernelThreads / count)
        }
    }
}
