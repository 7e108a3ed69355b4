import Glibc
import Linux
import LiveKernel
import Ports

/// What the agent adds to ordinary connections, wherever the kernel does the work.
enum ConnectionBench {
    private static let rounds = 40
    private static let connections = 1500

    private struct Cost {
        /// Nanoseconds of one connection: the thread that makes it, the kernel's own threads, the whole machine.
        var thread: Int64
        var kernel: Int64
        var machine: Int64
    }

    static func run(agent: String) async throws {
        let scene = try await Scene()
        defer { scene.end() }
        var without: [Cost] = []
        var with: [Cost] = []
        var wakeUps = 0
        var agentTime: Int64 = 0
        _ = try await cost(scene)
        for _ in 0..<rounds {
            // Short rounds, each beside its twin, so that the machine's other work falls on both alike.
            without.append(try await cost(scene))
            let product = try await Product(agent: agent, in: scene.namespace)
            // The agent's own start, such as the scan for the processes of older listeners, is no connection's.
            try await Task.sleep(for: .milliseconds(800))
            let (wakes, cpu) = (product.agent.wakeUps(ofThreads: "listen-watch"), product.agent.cpuTime)
            with.append(try await cost(scene))
            wakeUps += product.agent.wakeUps(ofThreads: "listen-watch") - wakes
            agentTime += product.agent.cpuTime - cpu
            product.end()
        }
        Measure.header(
            "CPU of one connection: connect, accept, reset (\(rounds) pairs of rounds of \(connections) each)",
            [
                "microseconds", "thread, median", "least", "kernel's threads, median",
                "machine (/proc/stat), median",
            ])
        row("without the agent", without)
        row("with agent and follower", with)
        let pairs = zip(without, with)
        let added = pairs.map { ($1.thread - $0.thread) * 10_000 / $0.thread }
        let all = pairs.map {
            ($1.thread + $1.kernel - $0.thread - $0.kernel) * 10_000 / ($0.thread + $0.kernel)
        }
        let total = rounds * connections
        print(
            "\nAdded to the thread: \(percent(added)) (median of the pairs); with the kernel's threads: \(percent(all)). "
                + "During \(total) connections the watcher woke \(wakeUps) times and the agent took "
                + "\(Measure.fixed(Double(agentTime) / Double(total) / 1000, 3)) us for each.")
    }

    private static func row(_ title: String, _ costs: [Cost]) {
        let thread = costs.map(\.thread)
        Measure.row(
            [title]
                + [
                    Measure.quantile(thread, 0.5), thread.min() ?? 0,
                    Measure.quantile(costs.map(\.kernel), 0.5), Measure.quantile(costs.map(\.machine), 0.5),
                ].map(Measure.microseconds))
    }

    private static func percent(_ hundredths: [Int64]) -> String {
        Measure.fixed(Double(Measure.quantile(hundredths, 0.5)) / 100, 1) + " %"
    }

    /// On loopback the soft interrupts of both ends run on the connecting thread as well.
    private static func cost(_ scene: Scene) async throws -> Cost {
        try await scene.namespace.run {
            try KernelControl.pin(cpu: 0)
            let listener = try TestListener(.loopbackV4)
            let (load, start) = (MachineLoad.now, KernelControl.cpuTime())
            for _ in 0..<connections { try TestConnection(to: listener).reset() }
            let thread = KernelControl.cpuTime() - start
            // Work that was put off, such as freeing by RCU, is part of the connections.
            usleep(30_000)
            let all = MachineLoad.now - load
            let count = Int64(connections)
            return Cost(
                thread: thread / count, kernel: all.kernelThreads / count, machine: all.machine / count)
        }
    }
}
