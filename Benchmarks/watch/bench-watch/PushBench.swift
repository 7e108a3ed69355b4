import Glibc
import Linux
import ListenWatch
import LiveKernel
import Ports

/// What the sources of hints cost and give, side by side: the watcher alone, with each that this machine has.
enum PushBench {
    private static let turns = 60
    private static let connections = 200
    private static let samples = 200

    static func run() async throws {
        let scene = try await Scene()
        defer { scene.end() }
        var levels: [PushLevel] = []
        for level in PushLevel.allCases where level != .poll {
            let watcher = try await watcher(level, scene)
            await watcher.settled()
            if watcher.source.push == level { levels.append(level) }
            watcher.stop()
        }
        try await perConnection(scene, levels)
        try await perListener(scene, levels)
        try await otherNamespace(scene, levels)
    }

    /// In turns, each level first as often as last.
    private static func perConnection(_ scene: Scene, _ levels: [PushLevel]) async throws {
        let ways: [PushLevel?] = [nil] + levels.map(Optional.some)
        var costs: [PushLevel?: [Int64]] = [:]
        for turn in -1..<turns {
            for way in turn % 2 == 0 ? ways : ways.reversed() {
                var watcher: ListenWatcher?
                if let way { watcher = try await self.watcher(way, scene) }
                await watcher?.settled()
                let cost = try await cost(of: connections, in: scene) { listener in
                    try TestConnection(to: listener).reset()
                }
                watcher?.stop()
                // The first turn warms up.
                if turn >= 0 { costs[way, default: []].append(cost) }
            }
        }
        Measure.header(
            "CPU of one connection: connect, accept, reset (\(turns) turns of \(connections) each)",
            [
                "push", "microseconds, median", "least", "added, median of the pairs",
                "first and third quartile",
            ])
        for way in ways {
            let these = costs[way] ?? []
            let added = zip(these, costs[nil] ?? []).map { ($0 - $1) * 10_000 / $1 }
            Measure.row([
                way?.rawValue ?? "none", Measure.microseconds(Measure.quantile(these, 0.5)),
                Measure.microseconds(these.min() ?? 0), percent(Measure.quantile(added, 0.5)),
                percent(Measure.quantile(added, 0.25)) + " to " + percent(Measure.quantile(added, 0.75)),
            ])
        }
    }

    private static func perListener(_ scene: Scene, _ levels: [PushLevel]) async throws {
        Measure.header(
            "A listener: \(samples) of them, and what each costs the program that listens and closes",
            [
                "push", "watcher's start, ms", "until it pushes so, ms", "listen to known, ms: median", "p99",
                "most",
                "close to known: median", "p99", "most", "one listen and close, us: median",
            ])
        for level in levels {
            let start = Measure.now
            let watcher = try await watcher(level, scene)
            let started = Measure.now - start
            await watcher.settled()
            let settled = Measure.now - start
            var costs: [Int64] = []
            for _ in 0..<turns {
                costs.append(
                    try await cost(of: 20, in: scene) { _ in _ = try TestListener(.loopbackV4) })
                usleep(100_000)
            }
            watcher.stop()
            let child = try await scene.start(.rum, level.rawValue)
            var (opened, closed): ([Int64], [Int64]) = ([], [])
            for index in 0..<samples {
                let sample = try await scene.sample(child, port: UInt16(21_000 + index))
                opened.append(sample.opened)
                closed.append(sample.closed)
            }
            child.end()
            Measure.row([
                level.rawValue, Measure.milliseconds(started), Measure.milliseconds(settled),
                Measure.summary(opened), Measure.summary(closed),
                Measure.microseconds(Measure.quantile(costs, 0.5)),
            ])
        }
    }

    private static func otherNamespace(_ scene: Scene, _ levels: [PushLevel]) async throws {
        Measure.header(
            "Beside another namespace that listens and closes 100 times a second, 20 s",
            ["push", "CPU of one core", "wake-ups of the watcher", "memory, MiB", "at most"])
        let other = try await NetworkNamespace()
        for level in levels {
            let child = try await scene.start(.rum, level.rawValue)
            try await Task.sleep(for: .seconds(3))
            let churn = try await Child([CommandLine.arguments[0], "churn", "100"], in: other)
            let (cpu, wakes) = (child.cpuTime, child.wakeUps(ofThreads: "listen-watch"))
            try await Task.sleep(for: .seconds(20))
            let spent = (child.cpuTime - cpu) / 20
            Measure.row([
                level.rawValue, Measure.fixed(Double(spent) / 1e7, 4) + " %",
                "\(child.wakeUps(ofThreads: "listen-watch") - wakes)",
                Measure.fixed(ProcessFiles.mebibytes("VmRSS", of: child.pid), 1),
                Measure.fixed(ProcessFiles.mebibytes("VmHWM", of: child.pid), 1),
            ])
            churn.end()
            child.end()
        }
    }

    private static func watcher(_ level: PushLevel, _ scene: Scene) async throws -> ListenWatcher {
        var options = ListenWatcherOptions()
        options.mode = .netlink
        options.push = level
        options.procRoot = "/proc/thread-self"
        options.prepareThread = { try scene.namespace.enter() }
        let watcher = ListenWatcher(options: options)
        try await watcher.start()
        return watcher
    }

    /// Nanoseconds of the thread for one call of `body`; on loopback the soft interrupts of both ends are in it.
    private static func cost(
        of count: Int, in scene: Scene, _ body: @escaping @Sendable (TestListener) throws -> Void
    ) async throws -> Int64 {
        try await scene.namespace.run {
            try KernelControl.pin(cpu: 0)
            let listener = try TestListener(.loopbackV4)
            usleep(20_000)
            let start = KernelControl.cpuTime()
            for _ in 0..<count { try body(listener) }
            return (KernelControl.cpuTime() - start) / Int64(count)
        }
    }

    private static func percent(_ hundredths: Int64) -> String {
        Measure.fixed(Double(hundredths) / 100, 1) + " %"
    }
}
