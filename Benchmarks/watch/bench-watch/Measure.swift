import Glibc

/// Clocks and statistics.
enum Measure {
    /// CLOCK_MONOTONIC in nanoseconds: comparable between processes.
    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// The nanoseconds that `body` takes, `count` times.
    static func times(_ count: Int, _ body: () throws -> Void) rethrows -> [Int64] {
        var result: [Int64] = []
        for _ in 0..<count {
            let start = now
            try body()
            result.append(now - start)
        }
        return result
    }

    /// The value below which this share of the samples lies.
    static func quantile(_ samples: [Int64], _ share: Double) -> Int64 {
        let sorted = samples.sorted()
        guard !sorted.isEmpty else { return 0 }
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }

    static func microseconds(_ nanoseconds: Int64) -> String { fixed(Double(nanoseconds) / 1000, 1) }

    static func milliseconds(_ nanoseconds: Int64) -> String { fixed(Double(nanoseconds) / 1_000_000, 2) }

    static func fixed(_ value: Double, _ digits: Int) -> String {
        let scale = pow(10, Double(digits))
        let rounded = (value * scale).rounded() / scale
        if digits == 0 { return String(Int(rounded)) }
        return String(rounded)
    }

    /// median / p99 / most, in milliseconds.
    static func summary(_ samples: [Int64]) -> String {
        guard !samples.isEmpty else { return "- | - | -" }
        return [quantile(samples, 0.5), quantile(samples, 0.99), samples.max() ?? 0]
            .map(milliseconds).joined(separator: " | ")
    }

    static func row(_ cells: [String]) { print("| " + cells.joined(separator: " | ") + " |") }

    static func header(_ title: String, _ columns: [String]) {
        print("\n### \(title)\n")
        row(columns)
        row(columns.map { _ in "---" })
    }
}
