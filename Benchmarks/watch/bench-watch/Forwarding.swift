import Glibc
import Linux
import LiveKernel
import Ports

/// `rum-agent` in one namespace, `rum forward` in another, a unix socket between.
struct Forwarding {
    let guest: NetworkNamespace
    let host: NetworkNamespace
    let agent: Child
    let client: Child

    /// Starts both, waits until a first port is open on the host, and ends both after `body`.
    static func run(
        _ rum: String, _ agent: String, _ options: [String], _ body: (Forwarding) async throws -> Void
    ) async throws {
        let guest = try await NetworkNamespace()
        let host = try await NetworkNamespace()
        for namespace in [guest, host] {
            try await namespace.shell("echo 40000 65000 > /proc/sys/net/ipv4/ip_local_port_range")
        }
        let directory = "/tmp/bench-watch.\(getpid())"
        mkdir(directory, 0o700)
        defer {
            for name in ["2222.sock", "2223.sock"] { unlink("\(directory)/\(name)") }
            rmdir(directory)
        }
        let server = try await Child([agent, "--mode=netlink", "--listen", "unix:\(directory)"], in: guest)
        defer { server.end() }
        let deadline = Measure.now + 10_000_000_000
        while access("\(directory)/2223.sock", F_OK) != 0, Measure.now < deadline { usleep(1000) }
        let client = try await Child([rum, "forward", "--agent", "unix:\(directory)"] + options, in: host)
        defer { client.end() }
        // The first port shows that the session stands; it is no sample.
        let warm = try await guest.run { try TestListener(.loopbackV4, port: 39_999) }
        guard client.wait(for: { $0.hasPrefix("Auto-forwarding 127.0.0.1:39999 ") }) else {
            throw SystemError(code: ETIMEDOUT, operation: "rum forward did not open its first port")
        }
        withExtendedLifetime(warm) {}
        try await body(Forwarding(guest: guest, host: host, agent: server, client: client))
    }
}
