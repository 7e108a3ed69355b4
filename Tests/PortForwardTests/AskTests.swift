import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@Suite("Ports that are asked about")
struct AskTests {
    let binder = RecordingBinder()
    let clock = ManualClock()
    let log = EventLog()

    /// Ports 5000 to 5099 are asked about, and what node listens on elsewhere.
    func make(
        answers: [PortNumber: PortConsent] = [:], node action: PortRule.Action = .ask, hold: Duration? = nil
    ) -> ForwardReconciler {
        let log = log
        var ports = PortRule()
        ports.match.ports = [PortRange(text: "5000-5099")].compactMap { $0 }
        (ports.action, ports.label, ports.settings.hold) = (.ask, "db", hold)
        var node = PortRule()
        node.match.process = try? TextPattern(text: "node")
        (node.action, node.settings.hold) = (action, hold)
        var policy = ForwardPolicy(
            autoPorts: PortRange(text: "5000-5999").map { .init(range: $0, rules: [ports, node]) })
        policy.answers = answers
        return ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) { log.append($0) }
    }

    func states(_ reconciler: ForwardReconciler) async -> [ForwardSnapshot.State] {
        await reconciler.forwards.map(\.state)
    }

    @Test("A port is asked about once, and is open from the yes on")
    func yes() async {
        let reconciler = make()
        await reconciler.apply(table([5001, 5200]))
        await reconciler.apply(table([5001, 5200]))
        #expect(log.take() == ["asked:5001", "opened:5200"] && binder.openPorts == [5200])
        #expect(await states(reconciler) == [.asking, .open])
        #expect(await reconciler.forwards.first?.reason == "waits for your answer")
        clock.advance(.seconds(60))
        await reconciler.answer(.allow, about: port(5001))
        #expect(binder.openPorts == [5001, 5200] && log.all.last?.rule?.label == "db")
        #expect(log.all.last?.latencyMicroseconds == nil)
        #expect(log.take() == ["opened:5001"])
        await reconciler.apply(table([]))
        await reconciler.apply(table([5001]))
        #expect(Set(log.take()) == ["closed:5001", "closed:5200", "opened:5001"])
    }

    @Test("A no closes what is open at once, and nothing is asked again")
    func no() async {
        let reconciler = make(answers: [port(5001): .allow])
        await reconciler.apply(table([5001, 5002]))
        #expect(log.take() == ["opened:5001", "asked:5002"])
        await reconciler.answer(.deny, about: port(5001))
        #expect(log.all.last?.reason == "it is denied" && log.all.last?.wasAsked == false)
        await reconciler.answer(.deny, about: port(5002))
        #expect(log.all.last?.reason == "it is denied" && log.all.last?.wasAsked == true)
        #expect(log.take() == ["closed:5001", "closed:5002"] && binder.openPorts == [])
        await reconciler.apply(table([]))
        await reconciler.apply(table([5001, 5002]))
        #expect(log.take() == [] && binder.tries == 1)
        #expect(await !reconciler.currentPolicy.mayOpen(port(5001)))
    }

    @Test("A no closes it however often it has changed before, and a forgotten answer does too")
    func pastTheLimits() async {
        let reconciler = make(answers: [port(5001): .allow])
        for _ in 0..<20 {
            await reconciler.apply(table([5001]))
            await reconciler.apply(table([]))
        }
        await reconciler.apply(table([5001]))
        clock.advance(.seconds(1))
        await reconciler.tick()
        #expect(binder.openPorts == [5001])
        await reconciler.answer(.deny, about: port(5001))
        #expect(binder.openPorts == [])
        clock.advance(.seconds(60))
        await reconciler.answer(.allow, about: port(5001))
        #expect(binder.openPorts == [5001])
        _ = log.take()
        await reconciler.answer(nil, about: port(5001))
        #expect(log.take() == ["closed:5001", "asked:5001"] && binder.openPorts == [])
    }

    @Test("A question goes with its listener, the agent and the end of forwarding")
    func withdrawn() async {
        let reconciler = make()
        await reconciler.apply(table([5001]))
        await reconciler.apply(table([]))
        #expect(log.all.last?.wasAsked == true)
        #expect(log.take() == ["asked:5001", "closed:5001"])
        await reconciler.apply(table([5001]))
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(5))
        await reconciler.tick()
        #expect(log.take() == ["asked:5001", "agent_lost", "closed:5001"])
        await reconciler.answer(.allow, about: port(5001))
        await reconciler.answer(nil, about: port(5001))
        await reconciler.apply(table([5001]))
        #expect(log.take() == ["asked:5001"])
        await reconciler.stop()
        #expect(log.take() == ["closed:5001"] && binder.closedTwice == 0)
    }

    @Test(
        "A guest that does not tell of its processes does not get around the question, but a late word settles it"
    )
    func undecided() async {
        let reconciler = make()
        await reconciler.apply(HoldTests.table([5200: String?.none]))
        #expect(log.take() == [])
        clock.advance(.milliseconds(100))
        await reconciler.tick()
        #expect(log.take() == ["asked:5200"] && binder.tries == 0)
        await reconciler.apply(HoldTests.table([5200: "python3"]))
        #expect(log.take() == ["opened:5200"] && binder.openPorts == [5200])
        // Another program that is asked about: what was open for the one before is closed.
        await reconciler.apply(HoldTests.table([5200: "node"]))
        #expect(log.take() == ["closed:5200", "asked:5200"] && binder.openPorts == [])
    }

    @Test("An open port stays while the guest has not told who listens now, and no longer")
    func unknownFollower() async {
        let reconciler = make()
        await reconciler.apply(HoldTests.table([5200: "python3"]))
        await reconciler.apply(HoldTests.table([5200: String?.none]))
        #expect(log.take() == ["opened:5200"] && binder.openPorts == [5200])
        clock.advance(.milliseconds(100))
        await reconciler.tick()
        #expect(log.take() == ["closed:5200", "asked:5200"] && binder.openPorts == [])
    }

    @Test("A port that is asked about has no way to it by name, and one that is held needs no second yes")
    func names() async {
        let reconciler = make(hold: .seconds(2))
        await reconciler.apply(table([5001, 5002]))
        #expect(binder.noted == [])
        await reconciler.answer(.allow, about: port(5001))
        #expect(binder.noted == [5001])
        await reconciler.apply(table([]))
        #expect(await states(reconciler) == [.held])
        await reconciler.apply(table([5001]))
        #expect(await states(reconciler) == [.open])
        #expect(log.take() == ["asked:5001", "asked:5002", "opened:5001", "closed:5002"])
    }

    @Test("An answer counts while it is not known yet who listens where a forward is held")
    func answeredWhileUnknown() async {
        let reconciler = make(hold: .seconds(2))
        await reconciler.apply(HoldTests.table([5200: "node"]))
        await reconciler.apply(HoldTests.table([5200: String?.none]))
        #expect(log.take() == ["asked:5200"])
        await reconciler.answer(.allow, about: port(5200))
        #expect(log.take() == ["opened:5200"] && binder.openPorts == [5200])
        await reconciler.answer(nil, about: port(5200))
        #expect(log.take() == ["closed:5200", "asked:5200"] && binder.openPorts == [])
    }

    @Test("A port that may not open yet though it was answered about is still asked about till it does")
    func allowedPastTheLimits() async {
        let reconciler = make()
        for _ in 0..<5 {
            await reconciler.apply(table([5001]))
            await reconciler.apply(table([]))
        }
        clock.advance(.milliseconds(500))
        await reconciler.apply(table([5001]))
        _ = log.take()
        await reconciler.answer(.allow, about: port(5001))
        #expect(await states(reconciler) == [.asking])
        await reconciler.apply(table([]))
        clock.advance(.milliseconds(500))
        await reconciler.tick()
        #expect(log.all.last?.wasAsked == true)
        #expect(log.take() == ["limited:5001", "closed:5001"])
        clock.advance(.milliseconds(500))
        await reconciler.apply(table([5001]))
        #expect(log.take() == ["opened:5001"] && binder.openPorts == [5001])
    }

    @Test("One that was answered about, is blocked and goes before that is told is told to be closed")
    func allowedAndBlocked() async {
        let reconciler = make()
        binder.fail(5001, with: EADDRINUSE)
        await reconciler.apply(table([5001]))
        await reconciler.answer(.allow, about: port(5001))
        #expect(await states(reconciler) == [.blocked])
        await reconciler.apply(table([]))
        #expect(log.all.last?.wasAsked == true)
        #expect(log.take() == ["asked:5001", "closed:5001"])
        await reconciler.apply(table([5001]))
        await reconciler.announceBlocked()
        await reconciler.apply(table([]))
        #expect(log.all.last?.wasAsked == false)
        #expect(log.take() == ["blocked:5001", "closed:5001"])
    }

    @Test("Who has missed events is told the questions that stand")
    func retold() async {
        let reconciler = make()
        await reconciler.apply(table([5001]))
        _ = log.take()
        await reconciler.retell(after: {}, to: { [log] in log.append($0) })
        #expect(log.take() == ["asked:5001"])
    }
}
