import Linux
import LiveKernel
import Ports
import ProcNet
import SockDiag
import Synchronization
import TestSupport
import Testing

/// Listeners of every kind opened and closed at random on the running kernel. The test keeps its own books, so
/// that both readers wrong in the same way would show too.
@Suite("At rest, sock_diag, procfs and the truth agree", .timeLimit(.minutes(1)))
struct LiveOracleTests {
    @Test(
        "Random opens and closes of IPv4, IPv6, dual-stack, IPv6-only and REUSEPORT listeners",
        arguments: [1, 2, 3] as [UInt64])
    func random(seed: UInt64) async throws {
        let namespace = try await NetworkNamespace()
        try await namespace.run {
            var random = SeededGenerator(seed: seed)
            var open: [TestListener] = []
            let sockDiag = try SockDiagSnapshotter()
            for step in 0..<200 {
                if open.isEmpty || Int.random(in: 0..<5, using: &random) > 1 {
                    // The kernel refuses some combinations; only what it took is in the books.
                    if let listener = Self.randomListener(&random) { open.append(listener) }
                } else {
                    open.remove(at: Int.random(in: 0..<open.count, using: &random))
                }
                guard step % 10 == 9 else { continue }
                let truth = Set(open.map(\.key))
                var netlink: [ObservedListener] = []
                var procfs: [ObservedListener] = []
                // A child process of another test holds our closed sockets between its fork and exec.
                let deadline = ContinuousClock.now + .seconds(5)
                repeat {
                    netlink = try sockDiag.listeners()
                    procfs = try ProcNetReader(root: "/proc/thread-self").listeners()
                } while (Set(netlink.map(\.socket.key)) != truth || Set(procfs.map(\.socket.key)) != truth)
                    && ContinuousClock.now < deadline
                #expect(Set(netlink.map(\.socket.key)) == truth, "seed \(seed), step \(step)")
                #expect(Set(procfs.map(\.socket.key)) == truth, "seed \(seed), step \(step)")
                let v6Only = Set(open.filter(\.options.v6Only).map(\.key))
                #expect(Set(netlink.filter(\.socket.ipv6Only).map(\.socket.key)) == v6Only)
                let inodes = Set(netlink.map(\.inode))
                #expect(procfs.allSatisfy { inodes.contains($0.inode) })
            }
        }
    }

    @Test(
        "The early end of procfs leaves out none beside many connections, against the tables read to their end"
    )
    func earlyEnd() async throws {
        let namespace = try await NetworkNamespace()
        try await namespace.run {
            var listeners: [TestListener] = []
            var clients: [Client] = []
            for index in 0..<60 as Range<UInt16> {
                let address: IPAddress = index % 2 == 0 ? .anyV4 : .loopbackV6
                let listener = try TestListener(address, port: 7000 + index)
                let target: IPAddress = index % 2 == 0 ? .loopbackV4 : .loopbackV6
                for _ in 0..<8 {
                    clients.append(try Client(.tcp(target, port: listener.port.rawValue)))
                }
                listeners.append(listener)
            }
            let early = try ProcNetReader(root: "/proc/thread-self").listeners()
            let whole = try ProcNetReader(root: "/proc/thread-self", readsConnections: true).listeners()
            #expect(Set(early) == Set(whole))
            #expect(Set(early.map(\.socket.key)) == Set(listeners.map(\.key)))
            #expect(clients.count == 480)
        }
    }

    @Test("A server that restarts without pause is looked up without a stall or a missing answer")
    func restarting() async throws {
        let namespace = try await NetworkNamespace()
        let over = Flag()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                try await namespace.run {
                    while !over.isSet { _ = try TestListener(.loopbackV4, port: 7001) }
                }
            }
            defer { over.set() }
            let answers = try await namespace.run {
                let sockets = try SockDiagSnapshotter()
                let port = try #require(PortNumber(7001))
                var found = 0
                for _ in 0..<200_000
                where try sockets.lookUp(.loopbackV4, port: port, interfaceIndex: 1).listener != nil {
                    found += 1
                }
                return found
            }
            over.set()
            #expect(answers > 0)
        }
    }

    @Test("A range is cut out by the kernel exactly as by the parser")
    func range() async throws {
        let namespace = try await NetworkNamespace()
        try await namespace.run {
            let open = try (UInt16(7000)..<7040).map { try TestListener(.loopbackV4, port: $0) }
            let range = try #require(PortRange(text: "7010-7019"))
            let netlink = try SockDiagSnapshotter().listeners(in: range)
            let procfs = try ProcNetReader(root: "/proc/thread-self").listeners(in: range)
            #expect(netlink.map(\.socket.port.rawValue).sorted() == Array(7010...7019))
            #expect(Set(procfs.map(\.socket.key)) == Set(netlink.map(\.socket.key)))
            #expect(open.count == 40)
        }
    }

    private static func randomListener(_ random: inout SeededGenerator) -> TestListener? {
        let port = UInt16.random(in: 6000..<6012, using: &random)
        var options = TestListener.Options()
        options.reusePort = Bool.random(using: &random)
        let choices: [(address: IPAddress, v6Only: Bool)] = [
            (.anyV4, false), (.loopbackV4, false), (.v4(0x7f00_0002), false), (.anyV6, false), (.anyV6, true),
            (.loopbackV6, true), (.v6(0, 0xffff_7f00_0001), false),
        ]
        let choice = choices[Int.random(in: 0..<choices.count, using: &random)]
        options.v6Only = choice.v6Only
        return try? TestListener(choice.address, port: port, options: options)
    }
}

/// A connection that is being made, for as long as the object lives.
private final class Client: Sendable {
    private let descriptor: OwnedDescriptor

    init(_ address: SocketAddress) throws(SystemError) {
        descriptor = try StreamSocket.connect(to: address)
    }
}

/// Tells another thread to end.
private final class Flag: Sendable {
    private let value = Mutex(false)

    var isSet: Bool { value.withLock { $0 } }
    func set() { value.withLock { $0 = true } }
}
