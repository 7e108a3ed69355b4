import AgentChannel
import Glibc
import HostForward
import Linux
import PortForward
import Ports
import Relay
import TestSupport
import Testing

/// Real sockets on this host's loopback.
@Suite("Host listeners")
struct HostListenerTests {
    static var nobody: ForwardTarget {
        ForwardTarget(address: .unix(directory: "/nonexistent"), token: .none)
    }

    static func key(_ port: PortNumber, _ bind: BindAddress) -> WantedForward.Key {
        WantedForward.Key(kind: .auto, bind: bind, hostPort: port, guestPort: port)
    }

    /// Whether somebody listens. A connection that is taken and reset at once counts: there is no agent behind it.
    static func connects(_ address: IPAddress, _ port: PortNumber) -> Bool {
        let target = SocketAddress.tcp(address, port: port.rawValue)
        guard let socket = try? StreamSocket.connect(to: target) else { return false }
        var entry = pollfd(fd: socket.rawValue, events: Int16(POLLOUT), revents: 0)
        guard poll(&entry, 1, 5000) == 1 else { return false }
        return StreamSocket.pendingError(socket.rawValue)?.code != ECONNREFUSED
    }

    @Test("localhost binds both families, and closing refuses at once")
    func localhost() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: Self.nobody)
        let port = try FreePort.next()
        let bound = try binder.bind(Self.key(port, .localhost))
        #expect(Self.connects(.loopbackV4, port) && Self.connects(.loopbackV6, port))
        bound.close()
        #expect(!Self.connects(.loopbackV4, port) && !Self.connects(.loopbackV6, port))
        await engine.shutdown()
    }

    @Test("A port that is taken on one family is taken, and the other is given back")
    func halfTaken() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: Self.nobody)
        let port = try FreePort.next()
        let holder = try StreamSocket.listen(on: .tcp(.loopbackV6, port: port.rawValue))
        let failure = #expect(throws: BindFailure.self) { try binder.bind(Self.key(port, .localhost)) }
        #expect(failure?.isBusy == true && failure?.address.address == .loopbackV6)
        #expect(!Self.connects(.loopbackV4, port))
        _ = holder.rawValue
        await engine.shutdown()
    }

    @Test("The holder of a port is found by name and pid")
    func holder() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: Self.nobody)
        let port = try FreePort.next()
        let socket = try StreamSocket.listen(on: .tcp(.anyV4, port: port.rawValue))
        let address = HostAddress(address: .loopbackV4, port: port)
        let found = await binder.holders(of: [address])
        #expect(found[address]?.pid == getpid())
        #expect(found[address]?.name.isEmpty == false)
        _ = socket.rawValue
        await engine.shutdown()
    }

    @Test("A client is reset when no agent can be reached")
    func noAgent() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: Self.nobody)
        let port = try FreePort.next()
        let bound = try binder.bind(Self.key(port, .loopback))
        let client = try StreamSocket.connect(to: .tcp(.loopbackV4, port: port.rawValue))
        var entry = pollfd(fd: client.rawValue, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 5000) == 1)
        #expect(StreamSocket.pendingError(client.rawValue)?.code == ECONNRESET)
        bound.close()
        await engine.shutdown()
    }

    @Test(
        "A table's ports are bound in well under a millisecond each, two thousand of them too", .tags(.timed))
    func speed() async throws {
        let engine = try RelayEngine()
        let binder = RelayBinder(engine: engine, agent: Self.nobody)
        var policy = ForwardPolicy(
            autoPorts: PortRange(port(10_000), port(31_999)).map { .init(range: $0) })
        policy.maxAutoPorts = 2000
        let reconciler = ForwardReconciler(policy: policy, binder: binder, clock: .system) { _ in }
        let all = table(20_000..<22_000)
        let start = ContinuousClock.now
        await reconciler.apply(all)
        let took = ContinuousClock.now - start
        let open = await reconciler.forwards.filter { $0.state == .open }.count
        // Another program of this host may hold a few.
        #expect(open > 1900)
        #expect(took < .seconds(2))
        await reconciler.stop()
        await engine.shutdown()
    }
}
