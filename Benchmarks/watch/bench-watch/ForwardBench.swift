import Glibc
import Linux
import LiveKernel
import Ports
import SockDiag

/// `rum-agent` in one namespace, `rum forward` in another, a unix socket between: from listen() in the guest to
/// a connection on the host.
struct ForwardBench {
    /// What counts for a port that does not open or close in time, in nanoseconds.
    private static let longestWait: Int64 = 5_000_000_000

    let rum: String
    let agent: String

    func run() async throws {
        Measure.header(
            "Through rum forward, between two namespaces (milliseconds)",
            ["what", "samples", "median", "p99", "most"])
        try await Forwarding.run(rum, agent, ["--auto", "30000-39999"]) { pair in
            let (guest, host) = (pair.guest, pair.host)
            let (opened, closed) = try await samples(400, from: 30_000, guest, host)
            Measure.row([
                "guest listen() returned to host connect()", "\(opened.count)", Measure.summary(opened),
            ])
            Measure.row([
                "guest close() returned to host ECONNREFUSED", "\(closed.count)", Measure.summary(closed),
            ])
            try await many(guest, host)
        }
        try await Forwarding.run(rum, agent, ["--auto", "30000-39999", "--poll"]) { pair in
            let (guest, host) = (pair.guest, pair.host)
            let (opened, _) = try await samples(12, from: 30_000, guest, host)
            Measure.row(["the same with --poll, the 1 s poll", "\(opened.count)", Measure.summary(opened)])
        }
    }

    private func samples(
        _ count: Int, from first: UInt16, _ guest: NetworkNamespace, _ host: NetworkNamespace
    ) async throws -> (opened: [Int64], closed: [Int64]) {
        var opened: [Int64] = []
        var closed: [Int64] = []
        for index in 0..<UInt16(count) {
            let port = first + index
            // Not so fast that it would be a storm, and at odd times.
            usleep(useconds_t(20_000 + Int(index) * 7919 % 10_000))
            var (held, start) = try await guest.run {
                (try [TestListener(.loopbackV4, port: port)], Measure.now)
            }
            let reached = try await host.run { Self.wait(port, open: true) }
            opened.append(reached.map { $0 - start } ?? Self.longestWait)
            withExtendedLifetime(held) {}
            held.removeAll()
            let end = Measure.now
            let refused = try await host.run { Self.wait(port, open: false) }
            closed.append(refused.map { $0 - end } ?? Self.longestWait)
        }
        return (opened, closed)
    }

    /// 1 000 ports within half a second, then every one is dialled; no more than 1 024 are forwarded.
    private func many(_ guest: NetworkNamespace, _ host: NetworkNamespace) async throws {
        let start = Measure.now
        var listeners = try await guest.run {
            try (0..<1000).map { index in
                usleep(400)
                return try TestListener(.loopbackV4, port: UInt16(32_000 + index))
            }
        }
        let opened = Measure.now
        let reached = try await host.run {
            (0..<1000).allSatisfy { Self.wait(UInt16(32_000 + $0), open: true) != nil } ? Measure.now : nil
        }
        let middle = Measure.now
        withExtendedLifetime(listeners) {}
        listeners.removeAll()
        let refused = try await host.run {
            (0..<1000).allSatisfy { Self.wait(UInt16(32_000 + $0), open: false) != nil } ? Measure.now : nil
        }
        func text(_ time: Int64?, _ since: Int64) -> String {
            time.map { Measure.milliseconds($0 - since) } ?? "never"
        }
        Measure.row([
            "1 000 ports listening within \(Measure.milliseconds(opened - start)) ms: all reachable, from the first listen",
            "1", text(reached, start), "", "",
        ])
        Measure.row([
            "the same closed: all refused, from the first close", "1", text(refused, middle), "", "",
        ])
    }

    /// When a connection to a host port first succeeded, or was first refused; nil after `longestWait`.
    ///
    /// A connection to a port that is still open sets the relay to work at both ends, which would hold up what is
    /// measured. So the refusal is asked for once the kernel says that nobody listens.
    private static func wait(_ port: UInt16, open: Bool) -> Int64? {
        let deadline = Measure.now + longestWait
        let target = SocketAddress.tcp(.loopbackV4, port: port)
        guard let number = PortNumber(port), let sockets = try? SockDiagSnapshotter() else { return nil }
        while Measure.now < deadline {
            if !open, (try? sockets.lookUp(.loopbackV4, port: number, interfaceIndex: 1))?.listener != nil {
                usleep(20)
                continue
            }
            let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
            let fd = socket(AF_INET, kind, 0)
            guard fd >= 0 else { return nil }
            let descriptor = OwnedDescriptor(owning: fd)
            let failure = Result { () throws(SystemError) in try target.connect(descriptor.rawValue) }
            let now = Measure.now
            switch failure {
            case .success where open: return now
            case .failure(let error) where !open && error.code == ECONNREFUSED: return now
            default: break
            }
            usleep(20)
        }
        return nil
    }
}
