import Glibc
import Linux
import LiveKernel
import Ports

/// Where the time goes between listen() in the guest and the open host port.
///
/// The kernel's tracepoints of system calls tell it, so the programs are those that users run. First listen(2) alone is
/// traced, which costs nothing and gives the whole time; then every call of both programs, which gives the stages.
struct BudgetBench {
    /// What counts for a port that does not open in time, in nanoseconds.
    private static let longestWait: Int64 = 2_000_000_000

    let rum: String
    let agent: String
    let samples: Int

    func run() async throws {
        try await Forwarding.run(rum, agent, ["--auto", "30000-39999"]) { pair in
            Measure.header(
                "From listen() called in the guest to listen() returned on the host (milliseconds)",
                ["pause before each", "samples", "not in time", "median", "p90", "p99", "most"])
            let calls = try SystemCallTrace(calls: [.listen], threads: nil)
            for (pause, count) in [(20, samples), (500, samples / 8)] {
                let times = try await totals(pair, calls, pause: pause, count: count)
                let late = times.count { $0 >= Self.longestWait }
                Measure.row(
                    ["\(pause) ms", "\(times.count)", "\(late)"]
                        + [0.5, 0.9, 0.99, 1].map { Measure.milliseconds(Measure.quantile(times, $0)) })
            }
            for pause in [20, 500] {
                let count = pause == 20 ? samples : samples / 8
                try await stages(pair, pause: pause, count: count)
            }
        }
    }

    /// The whole time of each sample, with nothing traced but listen(2).
    private func totals(
        _ pair: Forwarding, _ trace: SystemCallTrace, pause: Int, count: Int
    ) async throws -> [Int64] {
        try await withSamples(pair, pause, count) {
            _ = trace.take()
        } until: { start in
            trace.take().first { Self.opensHostPort($0, pair) && $0.time >= start }?.time
        } finish: { start, end in
            end.map { $0 - start } ?? Self.longestWait
        }
    }

    /// Prints the stages of samples of which every call is traced.
    private func stages(_ pair: Forwarding, pause: Int, count: Int) async throws {
        let pids = [pair.agent.pid, pair.client.pid]
        var threads: Set<Int32> = []
        var trace: SystemCallTrace?
        var steps: [SystemCallTrace.Step] = []
        var incomplete = 0
        let times = try await withSamples(pair, pause, count) {
            let now = Set(pids.flatMap { ProcessFiles.numbers(in: "/proc/\($0)/task") })
            if now != threads {
                threads = now
                trace = try SystemCallTrace(calls: SystemCall.allCases, threads: Array(now))
            }
            _ = trace?.take()
            steps = []
        } until: { _ in
            steps += trace?.take() ?? []
            // The line on standard output is the last stage.
            return steps.first { Self.writesLine($0, pair) }?.time
        } finish: { start, _ -> [Int64]? in
            if trace?.isIncomplete ?? true { incomplete += 1 }
            return BudgetStages(agent: pair.agent.pid, host: pair.client.pid).times(of: steps, since: start)
        }
        let whole = times.compactMap { $0 }
        Measure.header(
            "The stages, each \(pause) ms after the one before (\(whole.count) of \(times.count) samples; microseconds)",
            ["where", "stage", "median", "p90", "p99", "most", "sum of medians"])
        var sum: Int64 = 0
        for (index, stage) in BudgetStages.stages.enumerated() {
            let column = whole.map { $0[index] }
            sum += Measure.quantile(column, 0.5)
            Measure.row(
                [stage.place, stage.name]
                    + [0.5, 0.9, 0.99, 1].map { Measure.microseconds(Measure.quantile(column, $0)) }
                    + [Measure.microseconds(sum)])
        }
        print(
            "\nIn \(times.count - whole.count) samples a thread was awake already; \(incomplete) lost records."
        )
    }

    private static func opensHostPort(_ step: SystemCallTrace.Step, _ pair: Forwarding) -> Bool {
        step.pid == pair.client.pid && step.call == .listen && step.result == 0
    }

    private static func writesLine(_ step: SystemCallTrace.Step, _ pair: Forwarding) -> Bool {
        step.pid == pair.client.pid && step.call == .write && step.result == nil
            && step.arguments.0 == 1
    }

    /// Has a server in the guest listen and close `count` times. `end` is asked until it tells when the sample ended.
    private func withSamples<Result>(
        _ pair: Forwarding, _ pause: Int, _ count: Int, begin: () throws -> Void,
        until end: (Int64) -> Int64?, finish: (Int64, Int64?) -> Result
    ) async throws -> [Result] {
        let server = try await Child([CommandLine.arguments[0], "server"], in: pair.guest)
        defer { server.end() }
        guard server.wait(for: { $0 == "ready" }) else {
            throw SystemError(code: ETIMEDOUT, operation: "the server of the benchmark")
        }
        var results: [Result] = []
        for index in 0..<count {
            // At odd times, so that no timer of the programs is in step with them.
            usleep(useconds_t(pause * 1000 + index * 7919 % (pause * 500)))
            try begin()
            var start: Int64?
            kill(server.pid, SIGUSR1)
            while start == nil {
                usleep(1000)
                start = server.takeLines().first.flatMap { Int64($0.text) }
            }
            guard let start else { continue }
            var ended = end(start)
            while ended == nil, Measure.now < start + Self.longestWait {
                usleep(1000)
                ended = end(start)
            }
            results.append(finish(start, ended))
            kill(server.pid, SIGUSR1)
            usleep(useconds_t(pause * 1000))
            _ = server.takeLines()
        }
        return results
    }

    /// The server's process: listens at one SIGUSR1, and prints when it called listen(2); closes at the next one. It has few
    /// descriptors, as a small server has.
    static func serve() throws {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR1)
        sigprocmask(SIG_BLOCK, &signals, nil)
        print("ready")
        var number: Int32 = 0
        var index = 0
        while true {
            sigwait(&signals, &number)
            var options = TestListener.Options()
            options.listens = false
            let listener = try TestListener(
                .loopbackV4, port: UInt16(30_000 + index % 9000), options: options)
            let start = Measure.now
            try listener.listen()
            print(start)
            sigwait(&signals, &number)
            withExtendedLifetime(listener) {}
            index += 1
        }
    }
}
