import Glibc
import Linux
import LiveKernel
import Ports

/// How long after listen() returned each candidate knows, with 1 000 connections and 30 listeners around.
///
/// No sample is left out: what is not reported in time counts with the whole time that was waited.
enum DetectionBench {
    private static let samples = 500

    static func run(agent: String) async throws {
        let scene = try await Scene()
        defer { scene.end() }
        Measure.header(
            "From listen() or close() returned to known (milliseconds)",
            ["who knows", "event", "samples", "not in time", "median", "p99", "most"])
        // Our own first and alone, since the others' work would be in its figures.
        let alone = try await scene.start(.rum)
        try await rows("a subscriber of rum's watcher, alone", scene, alone)
        alone.end()
        let product = try await Product(agent: agent, in: scene.namespace)
        try await rows("a follower of the whole agent", scene, product.follower)
        product.end()

        var children: [(Candidate, Child)] = []
        for candidate in Candidate.allCases { children.append((candidate, try await scene.start(candidate))) }
        defer { for (_, child) in children { child.end() } }
        let results = try await scene.compare(children, samples: 60)
        for (candidate, times) in results {
            let late = times.count { $0 >= Scene.longestReport }
            Measure.row([candidate.title, "listen", "\(times.count)", "\(late)", Measure.summary(times)])
        }
        print("\nThe last four ran side by side and saw the same 60 listeners, each open for 4 s.")
    }

    private static func rows(_ title: String, _ scene: Scene, _ child: Child) async throws {
        var opened: [Int64] = []
        var closed: [Int64] = []
        for index in 0..<samples {
            let sample = try await scene.sample(child, port: UInt16(21_000 + index))
            opened.append(sample.opened)
            closed.append(sample.closed)
        }
        for (event, times) in [("listen", opened), ("close", closed)] {
            let late = times.count { $0 >= Scene.longestWait }
            Measure.row([title, event, "\(times.count)", "\(late)", Measure.summary(times)])
        }
    }
}

/// A namespace with 1 000 connections and 30 listeners.
final class Scene: Sendable {
    /// How long a report is waited for, in nanoseconds; that of the slowest candidate's tick, side by side.
    static let longestWait: Int64 = 1_000_000_000
    static let longestReport: Int64 = 3_200_000_000

    let namespace: NetworkNamespace
    private let connections: Connections
    private let listeners: [TestListener]
    private let hint: OwnedDescriptor

    init() async throws {
        namespace = try await NetworkNamespace()
        // Listeners get ports of their own choosing, so the kernel must not give those to connections.
        try await namespace.shell("echo 40000 65000 > /proc/sys/net/ipv4/ip_local_port_range")
        connections = try await namespace.run { try Connections(1000) }
        listeners = try await namespace.run {
            try (0..<30).map { try TestListener(.loopbackV4, port: UInt16(20_000 + $0)) }
        }
        hint = try HintPipe.make()
    }

    func end() { unlink(HintPipe.path) }

    /// Starts a candidate and waits until it is at work.
    func start(_ candidate: Candidate, _ push: String = "") async throws -> Child {
        let child = try await Child(
            [CommandLine.arguments[0], "candidate", candidate.rawValue, push], in: namespace)
        guard child.wait(for: { $0.hasPrefix("ready") }) else {
            throw SystemError(code: ETIMEDOUT, operation: candidate.rawValue)
        }
        // The first report, of the listeners that are there, is no sample.
        usleep(100_000)
        _ = child.takeLines()
        return child
    }

    /// Opens a listener, waits until the child has said so, closes it, and waits again.
    func sample(_ child: Child, port: UInt16) async throws -> (opened: Int64, closed: Int64) {
        // Not so fast that it would be a storm, and at odd times.
        let pause = useconds_t(10_000 + Int(port) * 7919 % 10_000)
        return try await namespace.run {
            var listener: TestListener? = try TestListener(.loopbackV4, port: port)
            let open = Measure.now
            let opened = Self.wait(for: "+", port, child, since: open)
            usleep(pause)
            withExtendedLifetime(listener) {}
            listener = nil
            let close = Measure.now
            let closed = Self.wait(for: "-", port, child, since: close)
            usleep(pause)
            return (opened, closed)
        }
    }

    /// Nanoseconds until the child's report, `longestWait` without one. Asking seldom leaves the CPU to the child,
    /// and costs nothing, since the report carries its time.
    private static func wait(for sign: Character, _ port: UInt16, _ child: Child, since start: Int64) -> Int64
    {
        while Measure.now < start + longestWait {
            for line in child.takeLines() {
                if let (seen, number, time) = parse(line.text), seen == sign, number == port {
                    return time - start
                }
            }
            usleep(500)
        }
        return longestWait
    }

    /// Every child sees the same listeners, opened at odd times so that no poll is in step with them.
    func compare(
        _ children: [(Candidate, Child)], samples: Int
    ) async throws -> [(Candidate, [Int64])] {
        let hint = try self.hint.duplicate().release()
        defer { close(hint) }
        let opened = try await namespace.run {
            var times: [UInt16: Int64] = [:]
            var open: [TestListener] = []
            for index in 0..<samples {
                var options = TestListener.Options()
                options.listens = false
                let port = UInt16(22_000 + index)
                let listener = try TestListener(.loopbackV4, port: port, options: options)
                var byte: UInt8 = 1
                _ = write(hint, &byte, 1)
                try listener.listen()
                times[port] = Measure.now
                open.append(listener)
                usleep(useconds_t(300_000 + index * 7919 % 200_000))
                if open.count > 10 { open.removeFirst() }
            }
            usleep(3_200_000)
            return times
        }
        return children.map { candidate, child in
            var first: [UInt16: Int64] = [:]
            for line in child.takeLines() {
                guard let (sign, port, time) = Self.parse(line.text), sign == "+", first[port] == nil else {
                    continue
                }
                first[port] = time
            }
            return (
                candidate, opened.map { port, time in first[port].map { $0 - time } ?? Self.longestReport }
            )
        }
    }

    static func parse(_ line: String) -> (Character, UInt16, Int64)? {
        let parts = line.split(separator: " ")
        guard parts.count == 2, let sign = parts[0].first, let port = UInt16(parts[0].dropFirst()),
            let time = Int64(parts[1])
        else { return nil }
        return (sign, port, time)
    }
}
