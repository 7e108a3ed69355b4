import GuestForward
import Linux
import LiveKernel
import Ports
import ProcNet
import SockDiag
import TestSupport
import Testing

/// Every row of the table "which address to dial inside the guest": the connection must reach the right socket.
@Suite("Dial targets", .timeLimit(.minutes(1)))
struct DialTargetsTests {
    /// One listener, and the address that must be dialled for it.
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var address: String
        var expected: String
        var v6Only = false
        var device: String?
        /// procfs can't know interfaces, so it can't reach these.
        var procfsReaches = true
        var testDescription: String { name }
    }

    static let rows = [
        Row(name: "0.0.0.0", address: "0.0.0.0", expected: "127.0.0.1:7001"),
        Row(name: "127.0.0.1", address: "127.0.0.1", expected: "127.0.0.1:7001"),
        Row(name: "127.0.0.2", address: "127.0.0.2", expected: "127.0.0.2:7001"),
        Row(name: ":: dual-stack", address: "::", expected: "127.0.0.1:7001"),
        Row(name: ":: IPv6 only", address: "::", expected: "[::1]:7001", v6Only: true),
        Row(name: "::1", address: "::1", expected: "[::1]:7001"),
        Row(name: "::ffff:127.0.0.1", address: "::ffff:127.0.0.1", expected: "127.0.0.1:7001"),
        Row(name: "::ffff:10.9.0.1", address: "::ffff:10.9.0.1", expected: "10.9.0.1:7001"),
        Row(name: "a specific IPv4 address", address: "10.9.0.1", expected: "10.9.0.1:7001"),
        Row(name: "a specific IPv6 address", address: "fd09::1", expected: "[fd09::1]:7001"),
        Row(
            name: "a link-local address", address: "fe80::9", expected: "[fe80::9%eth0]:7001",
            procfsReaches: false),
        Row(name: "bound to lo", address: "0.0.0.0", expected: "127.0.0.1:7001", device: "lo"),
        Row(
            name: "bound to eth0", address: "0.0.0.0", expected: "10.9.0.1:7001", device: "eth0",
            procfsReaches: false),
        Row(
            name: ":: bound to eth0, IPv6 only", address: "::", expected: "[fd09::1]:7001", v6Only: true,
            device: "eth0", procfsReaches: false),
    ]

    @Test("The address that reaches the listener is tried first", arguments: rows)
    func netlink(_ row: Row) async throws {
        let (namespace, index) = try await Self.network()
        try await namespace.run {
            let listener = try Self.listener(row, index)
            let known = try SockDiagSnapshotter().listeners().map(\.socket)
            let targets = Self.targets(known).addresses(for: listener.port)
            let expected = row.expected.replacing("%eth0", with: "%\(index)")
            #expect(targets.first?.description == expected)
            #expect(targets.first.map { Self.reaches($0, listener) } == true)
        }
    }

    @Test(
        "With what procfs shows, one of the addresses reaches the listener",
        arguments: rows.filter(\.procfsReaches))
    func procfs(_ row: Row) async throws {
        let (namespace, index) = try await Self.network()
        try await namespace.run {
            let listener = try Self.listener(row, index)
            let known = try ProcNetReader(root: "/proc/thread-self").listeners().map(\.socket)
            #expect(Self.targets(known).addresses(for: listener.port).contains { Self.reaches($0, listener) })
        }
    }

    @Test("A port on which thousands of addresses listen is as cheap to dial as any other")
    func thousands() throws {
        let port = try #require(PortNumber(7001))
        let known = (0..<20_000).map {
            ListeningSocket(address: .v4(0x7f01_0001 + UInt32($0)), port: port)
        }
        let targets = Self.targets(known).addresses(for: port)
        #expect(targets.first?.description == "127.1.0.1:7001")
        #expect(targets.suffix(2).map(\.description) == ["127.0.0.1:7001", "[::1]:7001"])
        #expect(targets.count <= 40)
    }

    @Test("Beside others on the same port, each address is the one its dial reaches")
    func crowded() async throws {
        let (namespace, _) = try await Self.network()
        try await namespace.run {
            let second = try TestListener(.v4(0x7f00_0002), port: 7001)
            let specific = try TestListener(try #require(IPAddress(text: "10.9.0.1")), port: 7001)
            let known = try SockDiagSnapshotter().listeners().map(\.socket)
            let targets = Self.targets(known).addresses(for: second.port)
            #expect(Set(targets.prefix(2).map(\.description)) == ["127.0.0.2:7001", "10.9.0.1:7001"])
            for target in targets.prefix(2) {
                let listener = target.description.hasPrefix("10.") ? specific : second
                #expect(Self.reaches(target, listener))
            }
        }
    }

    @Test("Where nobody is known to listen, loopback is tried: the newest listener may not be known yet")
    func nobody() {
        let targets = Self.targets([]).addresses(for: port(7001))
        #expect(targets.map(\.description) == ["127.0.0.1:7001", "[::1]:7001"])
    }

    @Test("An address that is not this machine's own is not dialled, although somebody listens on it")
    func foreign() async throws {
        let (namespace, _) = try await Self.network()
        try await namespace.shell("sysctl -qw net.ipv4.ip_nonlocal_bind=1; ip route add default via 10.9.0.2")
        try await namespace.run {
            let listener = try TestListener(try #require(IPAddress(text: "192.0.2.7")), port: 7001)
            let known = try SockDiagSnapshotter().listeners().map(\.socket)
            #expect(known.contains { $0.key == listener.key })
            let targets = Self.targets(known).addresses(for: listener.port)
            #expect(targets.map(\.description) == ["127.0.0.1:7001", "[::1]:7001"])
        }
    }

    private static func targets(_ known: [ListeningSocket]) -> DialTargets {
        DialTargets { port in known.filter { $0.port == port } }
    }

    /// A namespace with eth0: 10.9.0.1, fd09::1 and fe80::9.
    private static func network() async throws -> (NetworkNamespace, UInt32) {
        let namespace = try await NetworkNamespace()
        try await namespace.shell(
            """
            ip link add eth0 type veth peer name peer0 && ip link set eth0 addrgenmode none && \
            ip link set peer0 up && ip link set eth0 up && ip addr add 10.9.0.1/24 dev eth0 && \
            ip addr add fd09::1/64 dev eth0 nodad && ip addr add fe80::9/64 dev eth0 nodad && \
            until ip -6 route show table local | grep -cE 'local (fd09::1|fe80::9) ' | grep -q 2; do :; done
            """)
        return (namespace, try await namespace.run { try KernelControl.interfaceIndex("eth0") })
    }

    private static func listener(_ row: Row, _ index: UInt32) throws -> TestListener {
        var options = TestListener.Options()
        options.v6Only = row.v6Only
        options.device = row.device
        let address = try #require(IPAddress(text: row.address))
        if address.isLinkLocal { options.scope = index }
        return try TestListener(address, port: 7001, options: options)
    }

    /// Connects, and sees whether it was this listener that got the connection.
    private static func reaches(_ target: SocketAddress, _ listener: TestListener) -> Bool {
        guard let client = try? StreamSocket.connect(to: target) else { return false }
        let arrived = listener.isReadable(within: 2000)
        if arrived { listener.acceptAndClose() }
        return arrived && client.rawValue >= 0
    }
}
