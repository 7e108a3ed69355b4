import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@Suite("Conflicts over a host port")
struct ConflictTests {
    let binder = RecordingBinder()
    let clock = ManualClock()
    let log = EventLog()

    func make(
        _ choice: PortRule.ConflictChoice, fixed: [StaticPort] = [], limits: ForwardLimits = ForwardLimits()
    ) -> ForwardReconciler {
        let policy = RulePolicyTests.policy([RulePolicyTests.rule { $0.onConflict = choice }], fixed: fixed)
        let log = log
        return ForwardReconciler(policy: policy, binder: binder, limits: limits, clock: clock.clock) {
            log.append($0)
        }
    }

    /// `host>guest` of each forward that is open.
    func ways(_ reconciler: ForwardReconciler) async -> [String] {
        await reconciler.forwards.filter { $0.state == .open }.map {
            "\($0.forward.hostPort)>\($0.forward.guestPort)"
        }
    }

    @Test("With next, a forward opens on the next host port that is free and that no other forward wants")
    func next() async {
        let reconciler = make(.next, fixed: [StaticPort(host: port(5004), guest: port(80))])
        binder.fail(5001, with: EADDRINUSE)
        binder.fail(5003, with: EADDRINUSE)
        await reconciler.start()
        await reconciler.apply(table([5001, 5002]))
        #expect(await ways(reconciler) == ["5004>80", "5002>5002", "5005>5001"])
        #expect(log.all.first { $0.forward?.guestPort == port(5001) }?.reason == "127.0.0.1:5001 is taken")
        #expect(await reconciler.forwards.last?.reason == "127.0.0.1:5001 is taken")
        #expect(log.take() == ["opened:5004", "opened:5005", "opened:5002"])
        // It is what was wanted: the same table changes nothing, nor does the port that has come free.
        binder.fail(5001, with: nil)
        await reconciler.apply(table([5001, 5002]))
        clock.advance(.seconds(5))
        #expect(await reconciler.tick() == nil)
        #expect(log.take() == [])
        // Told again as it is, and closed under its own number.
        let again = EventLog()
        await reconciler.retell(after: {}, to: { again.append($0) })
        #expect(again.take() == ["opened:5004", "opened:5002", "opened:5005"])
        await reconciler.apply(table([5002]))
        #expect(log.take() == ["closed:5005"] && binder.openPorts == [5002, 5004])
        // A new listener begins with its own number.
        await reconciler.apply(table([5001, 5002]))
        #expect(log.take() == ["opened:5001"])
    }

    @Test("A port whose number another forward sits on moves on too")
    func chain() async {
        let reconciler = make(.next)
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.apply(table([5001]))
        await reconciler.apply(table([5001, 5002]))
        #expect(await ways(reconciler) == ["5002>5001", "5003>5002"])
    }

    @Test("Where no port is left, it is blocked and tried again")
    func noneLeft() async {
        var limits = ForwardLimits()
        limits.nextPorts = 3
        let reconciler = make(.next, limits: limits)
        for port in UInt16(5001)...5004 { binder.fail(port, with: EADDRINUSE) }
        await reconciler.apply(table([5001]))
        #expect(binder.tries == 4)
        await reconciler.announceBlocked()
        #expect(log.take() == ["blocked:5001"])
        binder.fail(5003, with: nil)
        clock.advance(.milliseconds(60))
        await reconciler.tick()
        #expect(log.take() == ["opened:5003"] && binder.openPorts == [5003])
        #expect(await reconciler.tick() == nil)
    }

    @Test("A port that may not be bound is no conflict")
    func permission() async {
        let reconciler = make(.next)
        binder.fail(5001, with: EACCES)
        await reconciler.apply(table([5001]))
        await reconciler.announceBlocked()
        #expect(log.take() == ["blocked:5001"] && binder.tries == 1)
    }

    @Test("A static forward that is blocked keeps its host port for when it is free")
    func blockedStatic() async {
        let reconciler = make(.next, fixed: [StaticPort(host: port(5001), guest: port(80))])
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.start()
        binder.fail(5001, with: nil)
        await reconciler.apply(table([5001]))
        #expect(await ways(reconciler) == ["5002>5001"])
        clock.advance(.milliseconds(60))
        await reconciler.tick()
        #expect(await ways(reconciler) == ["5001>80", "5002>5001"])
    }

    @Test("A static forward that is added takes its host port from one that can be elsewhere")
    func addedStatic() async {
        let reconciler = make(.next)
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.apply(table([5001, 5008]))
        #expect(await reconciler.add(StaticPort(host: port(5002), guest: port(80))) == .opened)
        #expect(await ways(reconciler) == ["5002>80", "5003>5001", "5008>5008"])
        #expect(await reconciler.add(StaticPort(host: port(5008), guest: port(81))) == .opened)
        #expect(await ways(reconciler) == ["5002>80", "5008>81", "5003>5001", "5009>5008"])
        #expect(binder.closedTwice == 0)
    }

    @Test("With fail, a conflict is told once, and only another listener is tried again")
    func fail() async {
        let reconciler = make(.fail)
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.apply(table([5001, 5002]))
        await reconciler.announceBlocked()
        #expect(log.all.last?.forward?.onConflict == .fail)
        #expect(log.take() == ["opened:5002", "blocked:5001"])
        binder.fail(5001, with: nil)
        for _ in 0..<5 {
            clock.advance(.seconds(2))
            #expect(await reconciler.tick() == nil)
            await reconciler.apply(table([5001, 5002]))
        }
        #expect(log.take() == [])
        await reconciler.apply(table([5002]))
        await reconciler.apply(table([5001, 5002]))
        #expect(log.take() == ["closed:5001", "opened:5001"])
    }

    @Test("Tables at random leave what is wanted open, on ports of its own", arguments: 1...50)
    func random(seed: UInt64) async {
        var random = SeededGenerator(seed: seed)
        let reconciler = make(.next, fixed: [StaticPort(host: port(5004), guest: port(80))])
        await reconciler.start()
        for _ in 0..<8 {
            for number in UInt16(5001)...5010 where number != 5004 {
                binder.fail(number, with: Int.random(in: 0..<3, using: &random) == 0 ? EADDRINUSE : nil)
            }
            let ports = (UInt16(5001)...5006).filter { _ in Bool.random(using: &random) }
            clock.advance(.seconds(10))
            await reconciler.apply(table(ports))
            await reconciler.tick()
            let open = await reconciler.forwards.filter { $0.state == .open }
            #expect(open.map(\.forward.guestPort.rawValue).sorted() == [80] + ports)
            #expect(open.map(\.forward.hostPort.rawValue).sorted() == binder.openPorts)
            #expect(open.first?.forward.hostPort == port(5004))
        }
        #expect(binder.closedTwice == 0)
    }
}
