import Glibc
import Linux
import LiveKernel
import Ports
import ProcNet
import SockDiag

/// What one look at all listeners costs, by number of connections and of listeners.
enum SnapshotBench {
    static func run() async throws {
        Measure.header(
            "One snapshot, median microseconds",
            [
                "established", "listeners", "/proc/net/tcp + tcp6", "rum: the same to the first connection",
                "sock_diag v2, two dumps", "v2, all states", "rum: one legacy dump", "rum: dump of 10 ports",
                "rum: exact", "/proc ÷ rum's dump",
            ])
        let namespace = try await NetworkNamespace()
        var holders: [Child] = []
        defer { for holder in holders { holder.end() } }
        for (added, total) in [(0, 0), (10_000, 10_000), (90_000, 100_000)] {
            // A process may have 20 000 descriptors here and there, so it holds 5 000 connections.
            for _ in 0..<added / 5000 {
                let holder = try await Child([CommandLine.arguments[0], "hold", "5000"], in: namespace)
                holders.append(holder)
                guard holder.wait(seconds: 60, for: { $0 == "ready" }) else {
                    print("(\(total) connections are more than this machine allows)")
                    return
                }
            }
            for listeners in [10, 1000, 10_000] {
                try await namespace.run {
                    let open = try (0..<listeners).map {
                        try TestListener(.loopbackV4, port: UInt16(20_000 + $0))
                    }
                    try row(total, open.count)
                    withExtendedLifetime(open) {}
                }
            }
        }
    }

    private static func row(_ connections: Int, _ listeners: Int) throws {
        let reader = ProcNetReader(root: "/proc/thread-self", readsConnections: true)
        let early = ProcNetReader(root: "/proc/thread-self")
        let dumper = try PlainDumper()
        let diag = try SockDiagSnapshotter()
        let few = connections + listeners < 20_000 ? 9 : 3
        guard let range = PortRange(text: "20000-20009"), let port = PortNumber(20_003) else { return }
        let proc = Measure.quantile(try Measure.times(few) { _ = try reader.listeners() }, 0.5)
        let short = Measure.quantile(try Measure.times(few * 5) { _ = try early.listeners() }, 0.5)
        let two = Measure.quantile(try Measure.times(few * 5) { _ = try dumper.ports(states: 1 << 10) }, 0.5)
        let all = Measure.quantile(try Measure.times(few) { _ = try dumper.ports(states: 0xfff) }, 0.5)
        let one = Measure.quantile(try Measure.times(few * 10) { _ = try diag.listeners() }, 0.5)
        let part = Measure.quantile(try Measure.times(100) { _ = try diag.listeners(in: range) }, 0.5)
        let exact = Measure.quantile(
            try Measure.times(200) { _ = try diag.lookUp(.loopbackV4, port: port, interfaceIndex: 1) }, 0.5
        )
        Measure.row(
            ["\(connections)", "\(listeners)"]
                + [proc, short, two, all, one, part, exact].map(Measure.microseconds)
                + [Measure.fixed(Double(proc) / Double(max(one, 1)), 0)])
    }
}
