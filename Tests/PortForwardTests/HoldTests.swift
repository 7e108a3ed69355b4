import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@Suite("Forwards that wait for their listener")
struct HoldTests {
    let binder = RecordingBinder()
    let clock = ManualClock()
    let log = EventLog()

    /// Ports 5000 to 5099 of node wait for 2 s, those of others don't; node listens on one.
    func make() async -> ForwardReconciler {
        let reconciler = make(.wait)
        await reconciler.apply(Self.table([5001: "node"]))
        #expect(log.take() == ["opened:5001"])
        return reconciler
    }

    func make(_ conflict: PortRule.ConflictChoice) -> ForwardReconciler {
        let log = log
        var rule = PortRule()
        rule.onConflict = conflict
        rule.match.ports = [PortRange(text: "5000-5099")].compactMap { $0 }
        rule.match.process = try? TextPattern(text: "node")
        rule.settings.hold = .seconds(2)
        let policy = ForwardPolicy(
            autoPorts: PortRange(text: "5000-5999").map { .init(range: $0, rules: [rule]) })
        return ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) { log.append($0) }
    }

    static func table(_ listeners: [UInt16: String?]) -> ListenTable {
        ListenTable(
            revision: 1, source: ListenSource(mode: .netlink, push: .tracepoint),
            listeners: listeners.map { number, name in
                ListeningSocket(
                    address: .anyV4, port: port(number), process: name.map { .init(pid: 7, name: $0) })
            })
    }

    func states(_ reconciler: ForwardReconciler) async -> [ForwardSnapshot.State] {
        await reconciler.forwards.map(\.state)
    }

    @Test("A port whose listener is back in time was open all along, and clients that wait are told")
    func comesBack() async {
        let reconciler = await make()
        let before = await reconciler.forwards.first?.id
        for _ in 0..<100 {
            await reconciler.apply(Self.table([:]))
            #expect(await states(reconciler) == [.held])
            clock.advance(.milliseconds(1900))
            await reconciler.tick()
            let told = binder.retriesOfHeld
            await reconciler.apply(Self.table([5001: "node"]))
            #expect(binder.retriesOfHeld == told + 1)
            #expect(await states(reconciler) == [.open])
            clock.advance(.milliseconds(1900))
            await reconciler.tick()
        }
        #expect(log.take() == [] && binder.openPorts == [5001])
        #expect(await reconciler.forwards.first?.id == before)
    }

    @Test("It closes when its time is up, counted from the first table without it, and no sooner")
    func timeIsUp() async throws {
        let reconciler = await make()
        await reconciler.apply(Self.table([:]))
        let start = clock.now
        clock.advance(.seconds(1))
        await reconciler.apply(Self.table([5200: "node"]))
        #expect(log.take() == ["opened:5200"])
        #expect(await reconciler.tick() == start + 2_000_000_000)
        clock.advance(.seconds(1))
        await reconciler.tick()
        #expect(log.take() == ["closed:5001"] && binder.openPorts == [5200] && binder.closedTwice == 0)
        // The one without a rule goes at once.
        await reconciler.apply(Self.table([:]))
        #expect(log.take() == ["closed:5200"])
        await reconciler.apply(Self.table([5001: "node"]))
        #expect(log.take() == ["opened:5001"])
    }

    @Test("A forward that wants the same host port has it at once")
    func givesWay() async {
        let reconciler = await make()
        await reconciler.apply(Self.table([:]))
        #expect(await reconciler.add(StaticPort(host: port(5001), guest: port(80))) == .opened)
        #expect(log.take() == ["closed:5001", "opened:5001"] && binder.openPorts == [5001])
        #expect(await reconciler.forwards.map(\.forward.kind) == [.static])
    }

    @Test("A listener that is another program's has a forward of its own; an unknown one is waited for")
    func otherProgram() async {
        let reconciler = await make()
        await reconciler.apply(Self.table([:]))
        await reconciler.apply(Self.table([5001: String?.none]))
        #expect(await states(reconciler) == [.open] && log.take() == [])
        await reconciler.apply(Self.table([5001: "node"]))
        #expect(await states(reconciler) == [.open] && log.take() == [])
        await reconciler.apply(Self.table([:]))
        await reconciler.apply(Self.table([5001: "python3"]))
        #expect(await states(reconciler) == [.open] && log.take() == ["closed:5001", "opened:5001"])
        #expect(await reconciler.forwards.first?.forward.settings.hold == nil)
    }

    @Test("Its way by name stays as long as its host port, and in its place")
    func byName() async {
        let reconciler = await make()
        await reconciler.apply(Self.table([5001: "node", 5200: "node"]))
        #expect(binder.noted == [5001, 5200])
        await reconciler.apply(Self.table([5200: "node"]))
        #expect(binder.noted == [5001, 5200])
        clock.advance(.milliseconds(1999))
        await reconciler.tick()
        #expect(binder.noted == [5001, 5200])
        clock.advance(.milliseconds(1))
        await reconciler.tick()
        #expect(binder.noted == [5200])
        // Where another program listens, its forward has the way.
        await reconciler.apply(Self.table([5001: "node"]))
        await reconciler.apply(Self.table([:]))
        await reconciler.apply(Self.table([5001: "python3"]))
        #expect(binder.noted == [5001])
        await reconciler.apply(Self.table([5001: "node", 5200: "node"]))
        await reconciler.apply(Self.table([5200: "node"]))
        await reconciler.stop()
        await reconciler.tick()
        #expect(binder.noted == [])
    }

    @Test("One that is blocked stays for its listener as well, without a word, and has its way by name")
    func blocked() async {
        let reconciler = make(.wait)
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.apply(Self.table([5001: "node"]))
        await reconciler.announceBlocked()
        #expect(log.take() == ["blocked:5001"])
        for _ in 0..<100 {
            await reconciler.apply(Self.table([:]))
            clock.advance(.milliseconds(1900))
            await reconciler.tick()
            #expect(await states(reconciler) == [.blocked] && binder.noted == [5001])
            await reconciler.apply(Self.table([5001: "node"]))
        }
        #expect(log.take() == [])
        // The host port comes free while its listener is away: it opens for the listener.
        await reconciler.apply(Self.table([:]))
        binder.fail(5001, with: nil)
        clock.advance(.milliseconds(100))
        await reconciler.tick()
        #expect(await states(reconciler) == [.blocked] && log.take() == [])
        await reconciler.apply(Self.table([5001: "node"]))
        clock.advance(.milliseconds(60))
        await reconciler.tick()
        #expect(log.take() == ["opened:5001"])
        #expect(await states(reconciler) == [.open])
    }

    @Test("One whose listener is another program by now, which is ignored or elsewhere, does not stay for it")
    func ignoredProgram() async {
        let log = log
        let policy = RulePolicyTests.policy([
            RulePolicyTests.rule {
                $0.match.process = try? TextPattern(text: "node")
                $0.settings.hold = .seconds(2)
                $0.firstHostPort = port(5500)
                $0.match.ports = [PortRange(text: "5001-5009")].compactMap { $0 }
            },
            RulePolicyTests.rule("5001") { $0.action = .ignore },
        ])
        let reconciler = ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) {
            log.append($0)
        }
        for number in [5001, 5002] as [UInt16] {
            await reconciler.apply(Self.table([number: "node"]))
            await reconciler.apply(Self.table([:]))
            #expect(await states(reconciler) == [.held])
            await reconciler.apply(Self.table([number: "python3"]))
            #expect(binder.openPorts == (number == 5001 ? [] : [5002]))
        }
        #expect(log.take() == ["opened:5500", "closed:5500", "opened:5501", "closed:5501", "opened:5002"])
        #expect(binder.noted == [5002])
    }

    @Test("One that is blocked ends with its time, and makes way for another that wants its host port")
    func blockedEnds() async {
        let reconciler = make(.wait)
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.apply(Self.table([5001: "node"]))
        await reconciler.announceBlocked()
        await reconciler.apply(Self.table([:]))
        clock.advance(.seconds(2))
        await reconciler.tick()
        #expect(log.take() == ["blocked:5001", "closed:5001"] && binder.noted == [])
        await reconciler.apply(Self.table([5001: "node"]))
        await reconciler.announceBlocked()
        await reconciler.apply(Self.table([:]))
        await reconciler.apply(Self.table([5001: "python3"]))
        #expect(log.take() == ["blocked:5001", "closed:5001"])
        binder.fail(5001, with: nil)
        clock.advance(.milliseconds(100))
        await reconciler.tick()
        #expect(log.take() == ["opened:5001"])
        #expect(await reconciler.forwards.first?.forward.settings.hold == nil)
    }

    @Test("With fail, the host port of one that is blocked is tried again when its listener is back, once")
    func blockedForGood() async {
        let reconciler = make(.fail)
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.apply(Self.table([5001: "node"]))
        await reconciler.announceBlocked()
        let tries = binder.tries
        await reconciler.apply(Self.table([:]))
        await reconciler.apply(Self.table([5001: "node"]))
        clock.advance(.seconds(1))
        #expect(await reconciler.tick() == nil)
        #expect(binder.tries == tries + 1 && log.take() == ["blocked:5001"])
        binder.fail(5001, with: nil)
        await reconciler.apply(Self.table([:]))
        await reconciler.apply(Self.table([5001: "node"]))
        #expect(log.take() == ["opened:5001"])
    }

    @Test("The end of the grace for a lost agent, and the end of forwarding, end it")
    func ends() async {
        var reconciler = await make()
        await reconciler.apply(Self.table([:]))
        await reconciler.agentLost(reason: "gone")
        _ = log.take()
        await reconciler.stop()
        #expect(log.take() == ["closed:5001"] && binder.openPorts == [])
        reconciler = await make()
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(5))
        await reconciler.tick()
        #expect(log.take() == ["agent_lost", "closed:5001"] && binder.openPorts == [])
        #expect(await reconciler.tick() == nil)
    }
}
