import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@Suite("Forwards that are added and removed at run time")
struct RuntimeChangeTests {
    let binder = RecordingBinder()
    let clock = ManualClock()
    let log = EventLog()

    func make(_ policy: ForwardPolicy = ForwardReconcilerTests.policy) async -> ForwardReconciler {
        let log = log
        let reconciler = ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) {
            log.append($0)
        }
        await reconciler.start()
        await reconciler.apply(table([5001]))
        _ = log.take()
        return reconciler
    }

    static func forward(_ host: UInt16, _ guest: UInt16) -> StaticPort {
        StaticPort(host: port(host), guest: port(guest))
    }

    @Test("An added forward opens at once, stays through tables and losses, and closes when it is removed")
    func addAndRemove() async {
        let reconciler = await make()
        #expect(await reconciler.add(Self.forward(9000, 80)) == .opened)
        #expect(log.take() == ["opened:9000"])
        #expect(await reconciler.add(Self.forward(9000, 80)) == .wasThere)
        await reconciler.apply(table([5001, 5002]))
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(10))
        await reconciler.tick()
        #expect(binder.openPorts == [8080, 9000])
        _ = log.take()
        #expect(await reconciler.remove(Self.forward(9000, 80)))
        #expect(log.take() == ["closed:9000"])
        #expect(await !reconciler.remove(Self.forward(9000, 80)))
        #expect(await !reconciler.remove(Self.forward(8080, 81)))
    }

    @Test("Another policy closes and opens what differs, and leaves all else as it is")
    func otherPolicy() async {
        let reconciler = await make()
        #expect(await reconciler.add(Self.forward(9000, 90)) == .opened)
        #expect(await reconciler.add(Self.forward(9001, 91)) == .opened)
        #expect(log.take() == ["opened:9000", "opened:9001"])
        let before = await reconciler.forwards.filter { [5001, 9001].contains($0.forward.hostPort.rawValue) }
        // 8080 leads elsewhere, one of the added host ports is taken, the range is wider.
        var other = ForwardPolicy(
            staticPorts: [Self.forward(8080, 81), Self.forward(9000, 80)],
            autoPorts: PortRange(text: "4000-9999").map { .init(range: $0) })
        await reconciler.apply(other)
        #expect(log.take() == ["closed:8080", "closed:9000", "opened:8080", "opened:9000"])
        await reconciler.apply(table([4001, 5001]))
        #expect(log.take() == ["opened:4001"])
        let after = await reconciler.forwards.filter { [5001, 9001].contains($0.forward.hostPort.rawValue) }
        #expect(after.map(\.id) == before.map(\.id) && after.count == 2)
        // The other added one is still no part of a policy.
        other.staticPorts = []
        await reconciler.apply(other)
        #expect(log.take() == ["closed:9000", "closed:8080"] && binder.openPorts == [4001, 5001, 9001])
        #expect(await reconciler.remove(Self.forward(9001, 91)))
        await reconciler.apply(other)
        #expect(binder.openPorts == [4001, 5001])
    }

    @Test("Without automatic ports they close, and with them again only the next table opens any")
    func automaticOff() async {
        let reconciler = await make()
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(ForwardPolicy(staticPorts: ForwardReconcilerTests.policy.staticPorts))
        #expect(log.take() == ["closed:5001"])
        await reconciler.apply(ForwardReconcilerTests.policy)
        #expect(log.take() == [])
        await reconciler.apply(table([5002]))
        #expect(log.take() == ["opened:5002"])
    }

    @Test(
        "An automatic forward on another host port than its own gives way to a static one of another policy")
    func givesWay() async {
        var next = PortRule()
        next.onConflict = .next
        var policy = ForwardReconcilerTests.policy
        policy.autoPorts?.rules = [next]
        let reconciler = await make(policy)
        policy.staticPorts.append(Self.forward(5001, 80))
        await reconciler.apply(policy)
        await reconciler.apply(table([5001]))
        #expect(log.take() == ["closed:5001", "opened:5001", "opened:5002"])
    }

    @Test("Answers stay when the policy changes")
    func answersStay() async {
        var ask = PortRule()
        ask.action = .ask
        var policy = ForwardReconcilerTests.policy
        policy.autoPorts?.rules = [ask]
        let reconciler = await make(policy)
        await reconciler.answer(.allow, about: port(5001))
        #expect(binder.openPorts == [5001, 8080])
        _ = log.take()
        policy.staticPorts = []
        await reconciler.apply(policy)
        #expect(log.take() == ["closed:8080"] && binder.openPorts == [5001])
    }

    @Test("A forward that every user of the host may use is known by its ports, as any other")
    func everyUsers() async {
        let reconciler = await make()
        var open = Self.forward(9000, 80)
        open.allow = .host
        binder.fail(9000, with: EADDRINUSE)
        let outcome = await reconciler.add(open)
        guard case .failed = outcome else {
            Issue.record("\(outcome)")
            return
        }
        binder.fail(9000, with: nil)
        #expect(await reconciler.add(open) == .opened)
        #expect(await reconciler.add(Self.forward(9000, 80)) == .wasThere)
        #expect(await reconciler.remove(Self.forward(9000, 80)))
        #expect(binder.openPorts == [5001, 8080])
    }

    @Test("How long its program has listened already says nothing of how fast it was opened")
    func latency() async {
        let reconciler = await make()
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        await reconciler.apply(table([80], listenedAt: clock.now), hostMinusGuest: 0)
        clock.advance(.seconds(20))
        #expect(await reconciler.add(Self.forward(9000, 80)) == .opened)
        #expect(log.all.last?.name == .opened && log.all.last?.latencyMicroseconds == nil)
    }

    @Test("What changes while the agent is lost for long opens no port of its last table")
    func whileLost() async {
        let reconciler = await make()
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(10))
        await reconciler.tick()
        #expect(await reconciler.add(Self.forward(9000, 80)) == .opened)
        #expect(binder.openPorts == [8080, 9000])
    }

    @Test("An automatic forward gives way, and comes back")
    func overAutomatic() async {
        let reconciler = await make()
        #expect(await reconciler.add(Self.forward(5001, 80)) == .opened)
        #expect(log.take() == ["closed:5001", "opened:5001"])
        #expect(await reconciler.remove(Self.forward(5001, 80)))
        #expect(log.take() == ["closed:5001", "opened:5001"])
    }

    @Test("An automatic forward that has changed too often gives way as well")
    func overFlapping() async {
        let reconciler = await make()
        for _ in 0..<5 {
            await reconciler.apply(table([]))
            await reconciler.apply(table([5001]))
        }
        clock.advance(.milliseconds(500))
        await reconciler.tick()
        #expect(binder.openPorts == [5001, 8080])
        _ = log.take()
        #expect(await reconciler.add(Self.forward(5001, 80)) == .opened)
        #expect(log.take() == ["closed:5001", "opened:5001"] && binder.openPorts == [5001, 8080])
    }

    @Test("A host port that another forward has, or that cannot be bound, changes nothing")
    func refused() async {
        let reconciler = await make()
        #expect(await reconciler.add(Self.forward(8080, 81)) == .taken(Self.forward(8080, 80)))
        binder.fail(9000, with: EADDRINUSE)
        binder.fail(79, with: EACCES)
        guard case .failed(let busy, let holder) = await reconciler.add(Self.forward(9000, 80)) else {
            Issue.record("it was added")
            return
        }
        #expect(busy.isBusy && holder == PortHolder(name: "node", pid: 4121))
        guard case .failed(let forbidden, nil) = await reconciler.add(Self.forward(79, 80)) else {
            Issue.record("it was added")
            return
        }
        #expect(forbidden.error.code == EACCES)
        await reconciler.announceBlocked()
        #expect(log.take() == [])
        #expect(await reconciler.currentPolicy == ForwardReconcilerTests.policy)
        #expect(await reconciler.forwards.map(\.forward.hostPort) == [port(8080), port(5001)])
    }

    @Test("A port that is held back says why")
    func heldBack() async {
        let reconciler = await make()
        #expect(await reconciler.holdBack(of: port(5001)) == nil)
        for _ in 0..<6 {
            await reconciler.apply(table([]))
            await reconciler.apply(table([5001]))
        }
        await reconciler.apply(table([]))
        await reconciler.apply(table([5001]))
        let isOpen = binder.openPorts.contains(5001)
        #expect(await reconciler.holdBack(of: port(5001)) == (isOpen ? nil : .changesTooOften))
        let many = ForwardReconciler(
            policy: ForwardReconcilerTests.policy, binder: RecordingBinder(), clock: clock.clock
        ) { _ in }
        await many.apply(table(5000..<6100))
        #expect(await many.holdBack(of: port(6099)) == .surplus(limit: 1024))
        #expect(await many.holdBack(of: port(5000)) == nil)
    }
}
