import Glibc
import Linux
import PortForward
import Ports
import Relay
import TestSupport
import Testing

@Suite("Reconciler")
struct ForwardReconcilerTests {
    let binder = RecordingBinder()
    let clock = ManualClock()
    let log = EventLog()

    func make(_ policy: ForwardPolicy = Self.policy) -> ForwardReconciler {
        let log = log
        return ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) { log.append($0) }
    }

    static var policy: ForwardPolicy {
        ForwardPolicy(
            staticPorts: [.init(host: port(8080), guest: port(80))],
            autoPorts: PortRange(port(5000), port(9999)).map { .init(range: $0, ignore: [port(5353)]) })
    }

    static var automatic: ForwardPolicy { ForwardPolicy(autoPorts: policy.autoPorts) }

    /// Lets time pass until the reconciler asks to come again.
    func toNextTurn(of reconciler: ForwardReconciler) async {
        guard let next = await reconciler.tick() else { return }
        clock.advance(.nanoseconds(next - min(next, clock.now)))
        await reconciler.tick()
    }

    @Test("Static forwards are open before the guest listens")
    func staticFirst() async {
        let reconciler = make()
        await reconciler.start()
        #expect(log.take() == ["opened:8080"])
        await reconciler.apply(table([]))
        #expect(log.take() == [] && binder.openPorts == [8080])
    }

    @Test("Tables open and close ports, and equal tables do nothing")
    func tables() async {
        let reconciler = make()
        await reconciler.start()
        await reconciler.apply(table([5001, 5353, 4000]))
        #expect(log.take() == ["opened:8080", "opened:5001"])
        await reconciler.apply(table([5001, 5353, 4000]))
        #expect(log.take() == [])
        await reconciler.apply(table([5002]))
        #expect(log.take() == ["closed:5001", "opened:5002"])
        #expect(binder.openPorts == [5002, 8080] && binder.closedTwice == 0)
    }

    @Test("A port whose listener was replaced within one table stays open for the new process")
    func replacedListener() async throws {
        let reconciler = make(Self.automatic)
        await reconciler.apply(table([5001]))
        let before = try #require(await reconciler.forwards.last)
        var next = table([5001])
        next = ListenTable(
            revision: 2, source: next.source,
            listeners: [
                ListeningSocket(
                    address: .anyV6, port: port(5001), process: ListeningProcess(pid: 900, name: "node"))
            ])
        await reconciler.apply(next)
        let after = try #require(await reconciler.forwards.last)
        #expect(after.id == before.id && after.listener?.process?.name == "node")
    }

    @Test("A busy port is told once with its holder and opens within 100 ms of its release")
    func busy() async {
        let reconciler = make(Self.automatic)
        binder.fail(5002, with: EADDRINUSE)
        await reconciler.apply(table([5001, 5002]))
        // The neighbour is not held up, and nothing is claimed before the holder is known.
        #expect(log.take() == ["opened:5001"])
        await reconciler.announceBlocked()
        await reconciler.announceBlocked()
        #expect(
            log.all.map(\.reason) == ["127.0.0.1:5002 is held by node (pid 4121)"])
        #expect(log.take() == ["blocked:5002"])
        for _ in 0..<5 { await toNextTurn(of: reconciler) }
        #expect(log.take() == [])
        binder.fail(5002, with: nil)
        let released = clock.now
        await toNextTurn(of: reconciler)
        #expect(log.take() == ["opened:5002"])
        #expect(clock.now - released <= 100_000_000)
        #expect(await reconciler.tick() == nil)
    }

    @Test("A busy port that the guest gives up is forgotten without a word")
    func busyThenGone() async {
        let reconciler = make(Self.automatic)
        binder.fail(5002, with: EADDRINUSE)
        await reconciler.apply(table([5002]))
        await reconciler.apply(table([]))
        await reconciler.announceBlocked()
        #expect(log.take() == [])
        #expect(await reconciler.tick() == nil)
    }

    @Test("A static port that is taken is blocked as well")
    func staticBusy() async {
        let reconciler = make()
        binder.fail(8080, with: EADDRINUSE)
        await reconciler.start()
        await reconciler.announceBlocked()
        #expect(log.take() == ["blocked:8080"])
    }

    @Test("A port that may not be bound says why and is tried once a second")
    func permission() async {
        let policy = ForwardPolicy(staticPorts: [.init(host: port(80), guest: port(80))])
        let reconciler = make(policy)
        binder.fail(80, with: EACCES)
        await reconciler.start()
        await reconciler.announceBlocked()
        #expect(
            log.all.first?.reason
                == "127.0.0.1:80: Permission denied (a port below 1024: take a higher host port, or: sudo sysctl "
                + "net.ipv4.ip_unprivileged_port_start=80, or: sudo setcap cap_net_bind_service+ep "
                + "$(readlink -f $(which rum)))")
        let tries = binder.tries
        clock.advance(.milliseconds(900))
        await reconciler.tick()
        #expect(binder.tries == tries)
        clock.advance(.milliseconds(100))
        await reconciler.tick()
        #expect(binder.tries == tries + 1)
    }

    @Test("An agent that is back within the grace finds its ports as they were")
    func shortLoss() async {
        let reconciler = make(Self.automatic)
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(table([5001]))
        _ = log.take()
        await reconciler.agentLost(reason: "gone")
        await reconciler.agentLost(reason: "still gone")
        clock.advance(.milliseconds(4999))
        await reconciler.tick()
        #expect(log.take() == ["agent_lost"] && binder.openPorts == [5001])
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(table([5001]))
        #expect(log.take() == ["agent_back"] && binder.resets == [])
        clock.advance(.seconds(60))
        await reconciler.tick()
        #expect(binder.openPorts == [5001])
    }

    @Test("An agent lost for longer takes the automatic ports with it, and brings them back")
    func longLoss() async {
        let reconciler = make()
        await reconciler.start()
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(table([5001]))
        _ = log.take()
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(5))
        #expect(await reconciler.tick() == nil)
        #expect(log.take() == ["agent_lost", "closed:5001"] && binder.openPorts == [8080])
        await reconciler.agentConnected(instanceID: "b", bootID: "1")
        #expect(log.all.last?.reason == "the agent was started again")
        await reconciler.apply(table([5001]))
        #expect(log.take() == ["agent_back", "opened:5001"])
    }

    @Test("A new connection without a table does not end the grace")
    func backWithoutTable() async {
        let reconciler = make(Self.automatic)
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(table([5001]))
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(3))
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.agentLost(reason: "gone again")
        clock.advance(.seconds(2))
        await reconciler.tick()
        #expect(log.take() == ["opened:5001", "agent_lost", "agent_back", "agent_lost", "closed:5001"])
    }

    @Test("A rebooted guest is told from a quiet one, and its dead connections are reset")
    func reboot() async {
        let reconciler = make(Self.automatic)
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(table([5001]))
        clock.advance(.seconds(1))
        let lostAt = clock.now
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(1))
        await reconciler.agentConnected(instanceID: "b", bootID: "2")
        #expect(log.all.last?.reason == "the guest was rebooted")
        #expect(binder.resets == [lostAt])
    }

    @Test("The whole state is told again at one go: open ports, blocked ones that were told, a lost agent")
    func retell() async {
        let reconciler = make()
        binder.fail(5002, with: EADDRINUSE)
        await reconciler.start()
        await reconciler.apply(table([5002, 5001, 5003]))
        await reconciler.apply(table([5002, 5001]))
        await reconciler.announceBlocked()
        await reconciler.agentLost(reason: "gone")
        _ = log.take()
        let told = EventLog()
        await reconciler.retell(
            after: { told.append(ForwardEvent(name: .agentBack, timeMicroseconds: 0)) }, to: told.append)
        #expect(told.all.dropFirst().first?.reason == "gone")
        #expect(told.take() == ["agent_back", "agent_lost", "opened:8080", "opened:5001", "blocked:5002"])
        #expect(log.take() == [])
    }

    @Test("After a reboot that was noticed late, what was accepted since the agent's start is left alone")
    func silentReboot() async {
        let reconciler = make(Self.automatic)
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(table([5001]))
        clock.advance(.seconds(3))
        let startedAt = clock.now
        // Seven seconds until the heartbeat is missed.
        clock.advance(.seconds(7))
        await reconciler.agentLost(reason: "gone")
        await reconciler.agentConnected(instanceID: "b", bootID: "2", startedAt: startedAt)
        #expect(binder.resets == [startedAt])
    }

    @Test("When the same agent is back, what the guest lost meanwhile is looked for, and nothing is reset")
    func sleep() async {
        let reconciler = make(Self.automatic)
        await reconciler.agentConnected(instanceID: "a", bootID: "1", startedAt: 1)
        await reconciler.apply(table([5001]))
        #expect(binder.searches == 0)
        await reconciler.agentLost(reason: "gone")
        await reconciler.agentConnected(instanceID: "a", bootID: "1", startedAt: 1)
        #expect(binder.searches == 1 && binder.resets == [])
        await reconciler.agentLost(reason: "gone")
        await reconciler.agentConnected(instanceID: "b", bootID: "1", startedAt: 2)
        #expect(binder.searches == 1 && binder.resets == [2])
    }

    @Test("Without automatic forwards, which need tables, the agent is lost and back all the same")
    func withoutTables() async {
        let reconciler = make(ForwardPolicy(staticPorts: Self.policy.staticPorts))
        await reconciler.start()
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        for turn in 0..<3 {
            clock.advance(.seconds(1))
            let lostAt = clock.now
            await reconciler.agentLost(reason: "gone")
            await reconciler.agentLost(reason: "still gone")
            clock.advance(.seconds(6))
            #expect(await reconciler.tick() == nil)
            await reconciler.agentConnected(instanceID: "b\(turn)", bootID: "1")
            #expect(binder.resets.last == lostAt && binder.resets.count == turn + 1)
        }
        let turn = ["agent_lost", "agent_back"]
        #expect(log.take() == ["opened:8080"] + turn + turn + turn && binder.openPorts == [8080])
        let told = EventLog()
        await reconciler.retell(after: {}, to: told.append)
        #expect(told.take() == ["opened:8080"])
    }

    @Test("A port that is blocked for a new reason, which is not told yet, is told to be closed")
    func withdrawnBetween() async {
        let reconciler = make(Self.automatic)
        binder.fail(5002, with: EADDRINUSE)
        await reconciler.apply(table([5002]))
        await reconciler.announceBlocked()
        binder.fail(5002, with: EACCES)
        clock.advance(.milliseconds(60))
        await reconciler.tick()
        await reconciler.apply(table([]))
        await reconciler.announceBlocked()
        #expect(log.take() == ["blocked:5002", "closed:5002"])
    }

    @Test("An agent that never answered is not lost")
    func neverThere() async {
        let reconciler = make()
        await reconciler.start()
        await reconciler.agentLost(reason: "no such guest")
        #expect(log.take() == ["opened:8080"])
    }

    @Test("Latency runs from listen in the guest's clock to the open port, and only if it was seen")
    func latency() async {
        let reconciler = make(Self.automatic)
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        let guestNow: (Duration) -> UInt64 = { clock.now - 500 - $0.wholeNanoseconds }
        clock.advance(.milliseconds(2))
        await reconciler.apply(
            table([5001], listenedAt: guestNow(.microseconds(640))), hostMinusGuest: 500)
        #expect(log.all.last?.latencyMicroseconds == 640)
        await reconciler.apply(
            table([5002], listenedAt: guestNow(.seconds(1))), hostMinusGuest: 500)
        #expect(log.all.last?.latencyMicroseconds == nil)
        await reconciler.apply(table([5003]), hostMinusGuest: 500)
        #expect(log.all.last?.latencyMicroseconds == nil)
    }

    @Test("Two thousand ports open at once and close at once")
    func many() async {
        var policy = Self.automatic
        policy.maxAutoPorts = 2000
        let reconciler = make(policy)
        await reconciler.apply(table(6000..<8000))
        let allOpen = binder.openPorts == Array(6000..<8000)
        #expect(allOpen)
        await reconciler.apply(table([]))
        #expect(binder.openPorts == [] && log.all.count == 4000)
    }

    @Test("Stopping closes everything and nothing opens any more")
    func stop() async {
        let reconciler = make()
        await reconciler.start()
        await reconciler.apply(table([5001]))
        await reconciler.stop()
        await reconciler.apply(table([5001, 5002]))
        #expect(binder.openPorts == [])
        #expect(Set(log.take()) == ["opened:8080", "opened:5001", "closed:8080", "closed:5001"])
    }

    @Test("While it runs, blocked ports are told and opened without being asked")
    func running() async throws {
        let log = log
        let clock = ForwardClock(
            monotonic: { SystemClock.monotonic }, wallMicroseconds: { SystemClock.realtime / 1000 })
        let reconciler = ForwardReconciler(policy: Self.automatic, binder: binder, clock: clock) {
            log.append($0)
        }
        binder.fail(5002, with: EADDRINUSE)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await reconciler.run() }
            await reconciler.apply(table([5002]))
            try await eventually { log.all.map(\.name) == [.blocked] }
            binder.fail(5002, with: nil)
            try await eventually { log.all.map(\.name) == [.blocked, .opened] }
            group.cancelAll()
        }
    }

    @Test("Whatever happens in whatever order, actual becomes wanted", arguments: 0..<60)
    func property(_ seed: Int) async {
        var random = SeededGenerator(seed: UInt64(seed))
        let reconciler = make()
        await reconciler.start()
        await reconciler.agentConnected(instanceID: "0", bootID: "0")
        var busy: Set<UInt16> = []
        var last: Set<UInt16> = []
        for step in 0..<200 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4:
                last = Set((0..<6).map { _ in UInt16.random(in: 5000...5012, using: &random) })
                await reconciler.apply(table(last))
            case 4: busy.insert(UInt16.random(in: 5000...5012, using: &random))
            case 5: if let port = busy.sorted().randomElement(using: &random) { busy.remove(port) }
            case 6: await reconciler.agentLost(reason: "random")
            case 7: await reconciler.agentConnected(instanceID: "\(step)", bootID: "0")
            case 8: await reconciler.announceBlocked()
            default:
                clock.advance(.milliseconds(Int.random(in: 1...3000, using: &random)))
                await reconciler.tick()
            }
            for port in UInt16(5000)...5012 {
                binder.fail(port, with: busy.contains(port) ? EADDRINUSE : nil)
            }
        }
        for port in UInt16(5000)...5012 { binder.fail(port, with: nil) }
        await reconciler.agentConnected(instanceID: "end", bootID: "0")
        await reconciler.apply(table(last))
        clock.advance(.seconds(2))
        await reconciler.tick()
        #expect(binder.openPorts == last.sorted() + [8080])
        #expect(binder.closedTwice == 0)
        var open: Set<UInt16> = []
        for event in log.all {
            guard let number = event.forward?.hostPort.rawValue else { continue }
            // Told after the fact and in turn: opened only when closed, closed and blocked only when it fits.
            switch event.name {
            case .opened: #expect(open.insert(number).inserted)
            case .closed: #expect(open.remove(number) != nil || event.failure != nil)
            case .blocked, .asked: #expect(!open.contains(number))
            case .limited, .refused: break
            case .agentLost, .agentBack: Issue.record("an agent's event names a forward")
            }
        }
        #expect(open == last.union([8080]))
        await reconciler.stop()
        #expect(binder.openPorts == [])
    }
}
