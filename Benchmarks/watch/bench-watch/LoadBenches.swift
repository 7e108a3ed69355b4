import Glibc
import Linux
import LiveKernel
import Ports

/// What the candidates cost when nothing happens.
enum IdleBench {
    static func run(seconds: Int) async throws {
        let scene = try await Scene()
        defer { scene.end() }
        var children: [(Candidate, Child)] = []
        for candidate in Candidate.allCases { children.append((candidate, try await scene.start(candidate))) }
        defer { for (_, child) in children { child.end() } }
        // What the start left behind, such as the scan for the processes of older listeners, is not idling.
        try await Task.sleep(for: .seconds(3))
        let before = children.map { ($0.1.cpuTime, $0.1.wakeUps()) }
        try await Task.sleep(for: .seconds(seconds))
        Measure.header(
            "Idle for \(seconds) s beside 1 000 connections and 30 listeners",
            ["candidate", "CPU of one core", "wake-ups"])
        for ((candidate, child), (cpu, wakes)) in zip(children, before) {
            let share = Double(child.cpuTime - cpu) / Double(seconds) / 1e7
            Measure.row([candidate.title, Measure.fixed(share, 4) + " %", "\(child.wakeUps() - wakes)"])
        }
    }
}

/// What the attached tracepoint adds to ordinary connections.
enum ConnectionBench {
    private static let rounds = 40
    private static let connections = 1500

    static func run() async throws {
        let scene = try await Scene()
        defer { scene.end() }
        var without: [Int64] = []
        var with: [Int64] = []
        var wakeUps = 0
        _ = try await cost(scene)
        for _ in 0..<rounds {
            // Short rounds, each beside its twin, so that the machine's other work falls on both alike.
            without.append(try await cost(scene))
            let child = try await scene.start(.rum)
            let before = child.wakeUps(ofThreads: "listen-watch")
            with.append(try await cost(scene))
            wakeUps += child.wakeUps(ofThreads: "listen-watch") - before
            child.end()
        }
        Measure.header(
            "CPU of one connection: connect, accept, reset (\(rounds) pairs of rounds of \(connections) each)",
            ["", "microseconds, median", "least"])
        Measure.row([
            "without a watcher", Measure.microseconds(Measure.quantile(without, 0.5)),
            Measure.microseconds(without.min() ?? 0),
        ])
        Measure.row([
            "with rum's watcher", Measure.microseconds(Measure.quantile(with, 0.5)),
            Measure.microseconds(with.min() ?? 0),
        ])
        let pairs = zip(without, with).map { ($1 - $0) * 10_000 / $0 }
        let least = Double((with.min() ?? 0) - (without.min() ?? 0)) / Double(without.min() ?? 1)
        print(
            "\nAdded: \(Measure.fixed(Double(Measure.quantile(pairs, 0.5)) / 100, 1)) % (median of the pairs), "
                + "\(Measure.fixed(least * 100, 1)) % (least against least). "
                + "The watcher woke \(wakeUps) times during \(rounds * connections) connections.")
    }

    /// CPU nanoseconds of one connection, kernel and user, all on one thread: on loopback the soft interrupts of
    /// both ends run on it as well.
    private static func cost(_ scene: Scene) async throws -> Int64 {
        try await scene.namespace.run {
            try KernelControl.pin(cpu: 0)
            let listener = try TestListener(.loopbackV4)
            let start = KernelControl.cpuTime()
            for _ in 0..<connections { try TestConnection(to: listener).reset() }
            return (KernelControl.cpuTime() - start) / Int64(connections)
        }
    }
}

/// Many events at once.
enum StormBench {
    static func run() async throws {
        Measure.header(
            "Storms", ["what", "events", "took", "watcher's CPU of one core", "wrong at rest"])
        try await storm("100 000 listen and close", stopping: false)
        try await storm("the same, the watcher stopped twice for 0.3 s (rings overflow)", stopping: true)
        try await many()
    }

    private static func storm(_ title: String, stopping: Bool) async throws {
        let scene = try await Scene()
        defer { scene.end() }
        let child = try await scene.start(.rum)
        defer { child.end() }
        let (cpu, start) = (child.cpuTime, Measure.now)
        let pid = child.pid
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
        let share = Double(child.cpuTime - cpu) / Double(took) * 100
        usleep(500_000)
        let seen = fold(child.takeLines().map(\.text))
        let wrong = seen.symmetricDifference(survivors.map(\.port.rawValue)).count
        withExtendedLifetime(survivors) {}
        Measure.row(
            [title, "200000", Measure.milliseconds(took) + " ms", Measure.fixed(share, 1) + " %", "\(wrong)"])
    }

    private static func many() async throws {
        let scene = try await Scene()
        defer { scene.end() }
        let child = try await scene.start(.rum)
        defer { child.end() }
        let (cpu, start) = (child.cpuTime, Measure.now)
        var listeners = try await scene.namespace.run {
            try (0..<2000).map { index in
                usleep(400)
                return try TestListener(.loopbackV4, port: UInt16(30_000 + index))
            }
        }
        let opened = Measure.now
        let known = await last(child, "+", 2000)
        let middle = Measure.now
        withExtendedLifetime(listeners) {}
        listeners.removeAll()
        let closed = Measure.now
        let gone = await last(child, "-", 2000)
        let share = Double(child.cpuTime - cpu) / Double(Measure.now - start) * 100
        Measure.row([
            "2 000 listeners opened in \(Measure.milliseconds(opened - start)) ms: all known after the last listen",
            "2000", known.map { Measure.milliseconds($0 - opened) + " ms" } ?? "never",
            Measure.fixed(share, 1) + " %", known == nil ? "some" : "0",
        ])
        Measure.row([
            "the same closed in \(Measure.milliseconds(closed - middle)) ms: all gone after the last close",
            "2000",
            gone.map { Measure.milliseconds($0 - closed) + " ms" } ?? "never", "", gone == nil ? "some" : "0",
        ])
    }

    /// The time of the last of `count` reports of one sign, nil when they don't all come within 5 s.
    private static func last(_ child: Child, _ sign: Character, _ count: Int) async -> Int64? {
        var times: [Int64] = []
        let deadline = Measure.now + 5_000_000_000
        while times.count < count, Measure.now < deadline {
            times += child.takeLines().compactMap { Scene.parse($0.text) }.filter { $0.0 == sign }.map(\.2)
            usleep(1000)
        }
        return times.count == count ? times.max() : nil
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
