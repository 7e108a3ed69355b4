import GuestForward
import Linux
import LiveKernel
import Ports
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

    @Test("The kernel's answer is dialled first, and reaches the listener", arguments: rows)
    func netlink(_ row: Row) async throws {
        let (namespace, index) = try await Self.network()
        try await namespace.run {
            let listener = try Self.listener(row, index)
            let targets = try DialTargets(mode: .netlink).resolve(listener.port)
            let expected = row.expected.replacing("%eth0", with: "%\(index)")
            #expect(targets.first?.description == expected)
            for target in targets {
                #expect(Self.reaches(target, listener), "\(target)")
            }
        }
    }

    @Test("With procfs one of the candidates reaches the listener", arguments: rows.filter(\.procfsReaches))
    func procfs(_ row: Row) async throws {
        let (namespace, index) = try await Self.network()
        try await namespace.run {
            let listener = try Self.listener(row, index)
            let targets = try DialTargets(mode: .procfs, procRoot: "/proc/thread-self").resolve(listener.port)
            #expect(targets.contains { Self.reaches($0, listener) })
        }
    }

    @Test("Beside others on the same port, each address is the one its dial reaches")
    func crowded() async throws {
        let (namespace, _) = try await Self.network()
        try await namespace.run {
            let port = try #require(PortNumber(7001))
            let second = try TestListener(.v4(0x7f00_0002), port: 7001)
            let specific = try TestListener(try #require(IPAddress(text: "10.9.0.1")), port: 7001)
            let targets = try DialTargets(mode: .netlink)
            let both = try targets.resolve(port)
            #expect(Set(both.map(\.description)) == ["127.0.0.2:7001", "10.9.0.1:7001"])
            for target in both {
                let listener = target.description.hasPrefix("10.") ? specific : second
                #expect(Self.reaches(target, listener))
            }
            // Loopback comes before all others as soon as it is served.
            let loopback = try TestListener(.loopbackV6, port: 7001)
            let first = try #require(try targets.resolve(port).first)
            #expect(Self.reaches(first, loopback))
        }
    }

    @Test("A port without a listener has no targets, in either mode, and every dial asks anew")
    func nobody() async throws {
        let (namespace, _) = try await Self.network()
        try await namespace.run {
            let port = try #require(PortNumber(7001))
            for mode in ListenMode.allCases {
                let targets = try DialTargets(mode: mode, procRoot: "/proc/thread-self")
                #expect(try targets.resolve(port).isEmpty)
                do {
                    let listener = try TestListener(.anyV4, port: 7001)
                    #expect(try targets.resolve(listener.port).first?.description == "127.0.0.1:7001")
                }
                #expect(try targets.resolve(port).isEmpty)
            }
        }
    }

    @Test("Connections are no listeners: a port in use as a client has no targets")
    func clientPort() async throws {
        let (namespace, _) = try await Self.network()
        try await namespace.run {
            let listener = try TestListener(.loopbackV4)
            let client = try StreamSocket.connect(to: .tcp(.loopbackV4, port: listener.port.rawValue))
            guard case .tcp(_, let number, _) = try StreamSocket.localAddress(client.rawValue) else { return }
            let port = try #require(PortNumber(number))
            #expect(try DialTargets(mode: .netlink).resolve(port).isEmpty)
        }
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
