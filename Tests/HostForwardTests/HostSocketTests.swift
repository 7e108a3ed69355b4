import AgentChannel
import Glibc
import Linux
import LiveKernel
import PortForward
import Ports
import ProcNet
import Relay
import Synchronization
import TestSupport
import Testing

@testable import HostForward

/// Which host ports may be taken, as the kernel of this machine has it.
@Suite("Host sockets", .serialized, .timeLimit(.minutes(1)))
struct HostSocketTests {
    @Test("A port that somebody has bound and does not listen on yet is busy, and stays theirs")
    func boundOnly() async throws {
        // A namespace without anybody's connections.
        try await NetworkNamespace().run {
            var options = TestListener.Options()
            options.listens = false
            var holder: TestListener? = try TestListener(.loopbackV4, port: 5001, options: options)
            let error = #expect(throws: SystemError.self) { try HostSocket(.loopbackV4, port: port(5001)) }
            #expect(error?.isAddressInUse == true)
            try holder?.listen()
            holder = nil
            _ = try HostSocket(.loopbackV4, port: port(5001))
        }
    }

    @Test("A port on which connections of a former listener linger is free")
    func lingering() async throws {
        try await NetworkNamespace().run {
            let target = SocketAddress.tcp(.loopbackV4, port: 5001)
            for isOurs in [false, true] {
                let listener: OwnedDescriptor
                if isOurs {
                    // The first round's connection is in TIME_WAIT by now.
                    let socket = try HostSocket(.loopbackV4, port: port(5001))
                    try socket.listen()
                    listener = try socket.take()
                } else {
                    listener = try StreamSocket.listen(on: target)
                }
                let client = try StreamSocket.connect(to: target)
                try Self.awaitInput(listener.rawValue)
                let accepted = OwnedDescriptor(
                    owning: try SystemError.check("accept", accept(listener.rawValue, nil, nil)))
                // The side that ends first is the one that lingers.
                shutdown(accepted.rawValue, Int32(SHUT_WR))
                try Self.awaitInput(client.rawValue)
            }
            #expect(LocalPortProbe().hasConnection(on: port(5001)))
            _ = try HostSocket(.loopbackV4, port: port(5001))
        }
    }

    @Test("The probe sees connections, and neither listeners nor what is only bound")
    func probe() async throws {
        try await NetworkNamespace().run {
            let listener = try TestListener(.loopbackV6, port: 5001)
            #expect(!LocalPortProbe().hasConnection(on: port(5001)))
            let client = try StreamSocket.connect(to: .tcp(.loopbackV6, port: 5001))
            #expect(listener.isReadable(within: 5000))
            #expect(LocalPortProbe().hasConnection(on: port(5001)))
            _ = client.rawValue
        }
    }

    private static func awaitInput(_ fd: Int32) throws {
        var entry = pollfd(fd: fd, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 5000) == 1)
    }

    @Test("The backlog is what the host's net.core.somaxconn allows")
    func backlog() throws {
        let allowed = try readText("/proc/sys/net/core/somaxconn").prefix { $0.isNumber }
        let socket = try HostSocket(.loopbackV4, port: try FreePort.next())
        try socket.listen()
        let listener = try socket.take()
        // Of a listener these two are the length of the queue and its limit (tcp_diag_get_info, net/ipv4/tcp_diag.c).
        var info = tcp_info()
        var size = socklen_t(MemoryLayout<tcp_info>.size)
        let result = getsockopt(listener.rawValue, Int32(IPPROTO_TCP), TCP_INFO, &info, &size)
        #expect(result == 0 && info.tcpi_unacked == 0)
        #expect("\(info.tcpi_sacked)" == allowed)
    }

    @Test("localhost answers on neither address while somebody holds one of them")
    func noFlapping() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: HostListenerTests.nobody)
        let port = try FreePort.next()
        let holder = try TestListener(.loopbackV6, port: port.rawValue)
        let isOver = Mutex(false)
        async let answers = onThread {
            var answers = 0
            while !isOver.withLock({ $0 }) {
                if HostListenerTests.connects(.loopbackV4, port) { answers += 1 }
            }
            return answers
        }
        for _ in 0..<2000 {
            #expect(throws: BindFailure.self) {
                try binder.bind(HostListenerTests.key(port, .localhost))
            }
        }
        isOver.withLock { $0 = true }
        #expect(try await answers == 0)
        _ = holder
        await engine.shutdown()
    }

    @Test(
        "A host port that closes while clients connect refuses or resets each of them; none sees an orderly end"
    )
    func closingUnderClients() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: HostListenerTests.nobody)
        let port = try FreePort.next()
        let tally = Tally()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    try await onThread {
                        while !tally.isOver {
                            guard let isOrderly = try Self.connection(to: port) else { continue }
                            tally.count(isOrderly)
                        }
                    }
                }
            }
            try await onThread {
                defer { tally.end() }
                var closes = 0
                while closes < 12_000 {
                    // A client may hold the port for a moment, as its own.
                    guard let bound = try? binder.bind(HostListenerTests.key(port, .loopback)) else {
                        continue
                    }
                    usleep(50)
                    bound.close()
                    closes += 1
                }
            }
            try await group.waitForAll()
        }
        let (orderly, resets) = tally.counts
        print("closing under clients: \(orderly) orderly ends, \(resets) resets")
        #expect(resets > 0)
        #expect(orderly == 0)
        await engine.shutdown()
    }

    @Test("Two thousand blocked ports cost little for as long as they last", .tags(.timed))
    func manyBlocked() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: HostListenerTests.nobody)
        let ports: Range<UInt16> = 20_000..<22_000
        let holders = ports.compactMap { try? TestListener(.loopbackV4, port: $0) }
        #expect(holders.count > 1900)
        var policy = ForwardPolicy(
            autoPorts: PortRange(port(20_000), port(21_999)).map { .init(range: $0) })
        policy.maxAutoPorts = 2000
        let blocked = Mutex(0)
        let reconciler = ForwardReconciler(policy: policy, binder: binder, clock: .system) { event in
            if event.name == .blocked { blocked.withLock { $0 += 1 } }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await reconciler.run() }
            await reconciler.apply(table(ports))
            try await eventually("all are told") { blocked.withLock { $0 } >= holders.count }
            let (start, used) = (ContinuousClock.now, Self.processTime)
            try await Task.sleep(for: .seconds(3))
            let share = Double(Self.processTime - used) / 1e9 / (start.duration(to: .now) / .seconds(1))
            print("2000 blocked ports: \(share * 100) % of a core")
            #expect(share < 0.15)
            group.cancelAll()
        }
        await reconciler.stop()
        await engine.shutdown()
        withExtendedLifetime(holders) {}
    }

    /// Connects and waits for the end of the connection: whether that is an orderly one; nil when nobody listens.
    private static func connection(to port: PortNumber) throws -> Bool? {
        let target = SocketAddress.tcp(.loopbackV4, port: port.rawValue)
        let client = OwnedDescriptor(
            owning: try SystemError.check("socket", socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)))
        let fd = client.rawValue
        var limit = timeval(tv_sec: 5, tv_usec: 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard (try? target.connect(fd)) != nil else { return nil }
        var byte: UInt8 = 0
        return recv(fd, &byte, 1, 0) == 0
    }

    /// CPU time of this process, in nanoseconds.
    static var processTime: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}

/// How connections ended, counted by several threads.
private final class Tally: Sendable {
    private let state = Mutex((orderly: 0, resets: 0, isOver: false))

    var isOver: Bool { state.withLock { $0.isOver } }
    var counts: (orderly: Int, resets: Int) { state.withLock { ($0.orderly, $0.resets) } }

    func count(_ isOrderly: Bool) {
        state.withLock { if isOrderly { $0.orderly += 1 } else { $0.resets += 1 } }
    }

    func end() { state.withLock { $0.isOver = true } }
}
