import Glibc
import Linux
import LiveKernel
import Ports

/// Many events at once, with the whole agent and a follower.
struct StormBench {
    let agent: String

    func run() async throws {
        Measure.header(
            "Storms",
            [
                "what", "events", "took", "agent's CPU of one core", "machine's busy CPUs",
                "memory at most, MiB",
                "wrong at rest",
            ])
        try await storm("100 000 listen and close", stopping: false)
        try await storm("the same, the agent stopped twice for 0.3 s (rings overflow)", stopping: true)
        try await many()
    }

    private func storm(_ title: String, stopping: Bool) async throws {
        let scene = try await Scene()
        defer { scene.end() }
        let product = try await Product(agent: agent, in: scene.namespace)
        defer { product.end() }
        let (cpu, load, start) = (product.agent.cpuTime, MachineLoad.now, Measure.now)
        let pid = product.agent.pid
        let survivors = try await scene.namespace.run {
            var kept: [TestListener] = []
            for index in 0..<100_000 {
                if stopping, index == 20_000 || index == 60_000 { kill(pid, SIGSTOP) }
                let socket = try TestListener(.loopbackV4)
                if index % 2000 == 0 { kept.append(socket) }
                if stopping, index == 30_000 || index == 70_000 { kill(pid, SIGCONT) }
            }
            return kept
        }
        let took = Measure.now - start
        let (busy, share) = ((MachineLoad.now - load).machine, product.agent.cpuTime - cpu)
        usleep(500_000)
        let seen = Self.fold(product.follower.takeLines().map(\.text))
        let wrong = seen.symmetricDifference(survivors.map(\.port.rawValue)).count
        withExtendedLifetime(survivors) {}
        Measure.row([
            title, "200000", Measure.milliseconds(took) + " ms", Self.percent(share, took),
            Measure.fixed(Double(busy) / Double(took), 2),
            Measure.fixed(ProcessFiles.mebibytes("VmHWM", of: pid), 1), "\(wrong)",
        ])
    }

    private func many() async throws {
        let scene = try await Scene()
        defer { scene.end() }
        let product = try await Product(agent: agent, in: scene.namespace)
        defer { product.end() }
        let (cpu, start) = (product.agent.cpuTime, Measure.now)
        var listeners = try await scene.namespace.run {
            try (0..<2000).map { index in
                usleep(400)
                return try TestListener(.loopbackV4, port: UInt16(30_000 + index))
            }
        }
        let opened = Measure.now
        let known = await last(product.follower, "+", 2000)
        let middle = Measure.now
        withExtendedLifetime(listeners) {}
        listeners.removeAll()
        let closed = Measure.now
        let gone = await last(product.follower, "-", 2000)
        Measure.row([
            "2 000 listeners opened in \(Measure.milliseconds(opened - start)) ms: all known after the last listen",
            "2000", known.map { Measure.milliseconds($0 - opened) + " ms" } ?? "never",
            Self.percent(product.agent.cpuTime - cpu, Measure.now - start), "",
            Measure.fixed(ProcessFiles.mebibytes("VmHWM", of: product.agent.pid), 1),
            known == nil ? "some" : "0",
        ])
        Measure.row([
            "the same closed in \(Measure.milliseconds(closed - middle)) ms: all gone after the last close",
            "2000", gone.map { Measure.milliseconds($0 - closed) + " ms" } ?? "never", "", "", "",
            gone == nil ? "some" : "0",
        ])
    }

    /// The time of the last of `count` reports of one sign, nil when they don't all come within 5 s.
    private func last(_ child: Child, _ sign: Character, _ count: Int) async -> Int64? {
        var times: [Int64] = []
        let deadline = Measure.now + 5_000_000_000
        while times.count < count, Measure.now < deadline {
            times += child.takeLines().compactMap { Scene.parse($0.text) }.filter { $0.0 == sign }.map(\.2)
            usleep(1000)
        }
        return times.count == count ? times.max() : nil
    }

    private static func percent(_ part: Int64, _ whole: Int64) -> String {
        Measure.fixed(Double(part) / Double(whole) * 100, 1) + " %"
    }

    private static func fold(_ lines: [String]) -> Set<UInt16> {
        var seen: Set<UInt16> = []
        for line in lines {
            guard let (sign, port, _) = Scene.parse(line) else { continue }
            if sign == "+" { seen.insert(port) } else { seen.remove(port) }
        }
        return seen
    }
}
