import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

/// Rules of every kind, static forwards that come and go, answers, losses and faults, in whatever order.
@Suite("All kinds of forwards at random")
struct RandomRulesTests {
    private static let ports: ClosedRange<UInt16> = 5001...5014

    /// Host ports 5021 to 5023 are the only ones that are another number than the guest's, but for those of `next`.
    private static let policy: ForwardPolicy = {
        var rules = [
            RulePolicyTests.rule("5001-5003") { $0.onConflict = .next },
            RulePolicyTests.rule("5004-5006") {
                $0.firstHostPort = port(5021)
                $0.settings.hold = .seconds(2)
            },
            RulePolicyTests.rule("5007-5009") {
                $0.match.command = try? TextPattern(text: "*vite*")
                $0.settings.hold = .milliseconds(500)
                $0.onConflict = .next
            },
            RulePolicyTests.rule("5008-5010") {
                $0.match.process = try? TextPattern(text: "node")
                $0.settings.proxyProtocol = true
            },
            RulePolicyTests.rule("5010") {
                $0.match.process = try? TextPattern(text: "python3")
                $0.action = .ask
                $0.settings.hold = .seconds(1)
            },
            RulePolicyTests.rule("5011-5012") { $0.action = .ask },
        ]
        rules.append(RulePolicyTests.rule("5013") { $0.action = .ignore })
        return RulePolicyTests.policy(rules, fixed: [StaticPort(host: port(5014), guest: port(80))])
    }()

    /// Who listens: some without a name, some with a command line too.
    private static func table(_ random: inout SeededGenerator) -> ListenTable {
        let listeners = ports.filter { _ in Bool.random(using: &random) }.map { number in
            let name = ["node", "python3", nil].randomElement(using: &random) ?? nil
            let command = ["vite", "next dev", nil].randomElement(using: &random) ?? nil
            let details = command.map { ProcessDetails(command: $0) }
            return ListeningSocket(
                address: .anyV4, port: port(number),
                process: name.map { ListeningProcess(pid: 7, name: $0, details: details) })
        }
        return ListenTable(
            revision: 1, source: ListenSource(mode: .netlink, push: .tracepoint), listeners: listeners)
    }

    /// What events have told so far.
    private struct Told {
        /// Host ports.
        var open: Set<UInt16> = []
        var blocked: Set<WantedForward.Key> = []
        var asked: Set<WantedForward.Key> = []

        /// False for an event that does not fit what was told before.
        mutating func take(_ event: ForwardEvent) -> Bool {
            guard let forward = event.forward else { return true }
            let (host, key) = (forward.hostPort.rawValue, Self.wherever(forward))
            switch event.name {
            case .opened:
                blocked.remove(key)
                asked.remove(key)
                return open.insert(host).inserted
            case .closed where event.wasAsked: return asked.remove(key) != nil
            case .closed where event.failure != nil: return blocked.remove(key) != nil
            case .closed: return open.remove(host) != nil
            case .blocked:
                asked.remove(key)
                blocked.insert(key)
            case .asked: return asked.insert(key).inserted
            case .limited, .refused, .agentLost, .agentBack: break
            }
            return true
        }

        /// The forward, whichever host port it has.
        static func wherever(_ forward: WantedForward.Key) -> WantedForward.Key {
            var key = forward
            key.hostPort = port(1)
            return key
        }
    }

    @Test("Whatever happens, actual becomes wanted, and events tell it", arguments: 0..<60)
    func property(_ seed: Int) async { await play(seed) }

    @Test("A seed that fails fails again: all that is told depends on it alone", arguments: 0..<10)
    func repeats(_ seed: Int) async {
        let first = await play(seed)
        for _ in 0..<3 { #expect(await play(seed) == first) }
    }

    /// Plays what the seed stands for, and returns what was told.
    @discardableResult
    private func play(_ seed: Int) async -> [ForwardEvent] {
        var random = SeededGenerator(seed: UInt64(seed))
        let (binder, clock, log) = (RecordingBinder(), ManualClock(), EventLog())
        let reconciler = ForwardReconciler(policy: Self.policy, binder: binder, clock: clock.clock) {
            log.append($0)
        }
        await reconciler.start()
        await reconciler.agentConnected(instanceID: "0", bootID: "0")
        var told = Told()
        var all: [ForwardEvent] = []
        func take() -> [ForwardEvent] {
            let events = log.takeAll()
            all += events
            return events.filter { !told.take($0) }
        }
        var last = Self.table(&random)
        for step in 0..<200 {
            switch Int.random(in: 0..<14, using: &random) {
            case 0..<4:
                last = Self.table(&random)
                await reconciler.apply(last)
            case 4: binder.fail(UInt16.random(in: 5001...5023, using: &random), with: EADDRINUSE)
            case 5: for number in UInt16(5001)...5060 { binder.fail(number, with: nil) }
            case 6: await reconciler.agentLost(reason: "random")
            case 7: await reconciler.agentConnected(instanceID: "\(step)", bootID: "0")
            case 8: await reconciler.announceBlocked()
            case 9:
                let host = port(.random(in: 5001...5023, using: &random))
                let guest = port(.random(in: Self.ports, using: &random))
                _ = await reconciler.add(StaticPort(host: host, guest: guest))
            case 10:
                let fixed = await reconciler.currentPolicy.staticPorts
                if let one = fixed.randomElement(using: &random) { #expect(await reconciler.remove(one)) }
            case 11:
                let answer = [PortConsent.allow, .deny, nil].randomElement(using: &random) ?? nil
                await reconciler.answer(answer, about: port(.random(in: 5010...5012, using: &random)))
            default:
                clock.advance(.milliseconds(Int.random(in: 1...3000, using: &random)))
                await reconciler.tick()
            }
            for event in take() { Issue.record("step \(step): \(event)") }
            #expect(told.open.sorted() == binder.openPorts, "step \(step)")
            let open = await reconciler.forwards.filter { $0.state == .open || $0.state == .held }
            #expect(open.map(\.forward.hostPort.rawValue).sorted() == binder.openPorts, "step \(step)")
        }
        for number in UInt16(5001)...5060 { binder.fail(number, with: nil) }
        await reconciler.agentConnected(instanceID: "end", bootID: "0")
        await reconciler.apply(last)
        for _ in 0..<400 {
            clock.advance(.milliseconds(20))
            await reconciler.tick()
        }
        await reconciler.announceBlocked()
        #expect(take() == [])
        let policy = await reconciler.currentPolicy
        let forwards = await reconciler.forwards
        func keys(_ state: ForwardSnapshot.State) -> Set<WantedForward.Key> {
            Set(forwards.filter { $0.state == state }.map { Told.wherever($0.forward) })
        }
        #expect(told.blocked == keys(.blocked) && told.asked == keys(.asking))
        let states = Dictionary(forwards.map { ($0.forward.guestPort.rawValue, $0) }) { first, _ in first }
        for forward in policy.wanted(in: last) where forward.key.kind == .auto {
            let state = states[forward.key.guestPort.rawValue]
            switch state?.state {
            case .open: #expect(!forward.needsAnswer, "\(forward.key.guestPort)")
            case .asking: #expect(forward.needsAnswer, "\(forward.key.guestPort)")
            case .blocked: #expect(binder.openPorts.contains(forward.key.hostPort.rawValue))
            case .held, nil: Issue.record("\(forward.key.guestPort): \(String(describing: state))")
            }
        }
        let wanted = Set(policy.wanted(in: last).map(\.key.guestPort.rawValue))
        #expect(Set(states.keys) == wanted)
        #expect(binder.closedTwice == 0)
        // What has a way by name: what is wanted, and may be open.
        let named = policy.wanted(in: last).filter { !$0.needsAnswer }.map(\.key.hostPort.rawValue)
        #expect(binder.noted == named)
        await reconciler.stop()
        #expect(take() == [] && told.open == [] && told.blocked == [] && told.asked == [])
        #expect(binder.openPorts == [])
        #expect(await reconciler.tick() == nil)
        return all
    }
}
