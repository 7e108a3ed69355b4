import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@Suite("Rules that depend on a process that is not known yet")
struct UndecidedTests {
    let binder = RecordingBinder()
    let clock = ManualClock()
    let log = EventLog()

    /// Ignores node, and what runs vite is moved.
    func make() throws -> ForwardReconciler {
        let (node, vite) = (try TextPattern(text: "node"), try TextPattern(text: "*vite*"))
        let policy = RulePolicyTests.policy([
            RulePolicyTests.rule("5002") { $0.firstHostPort = port(8002) },
            RulePolicyTests.rule("5001-5009") { rule in
                rule.match.command = vite
                rule.firstHostPort = port(9001)
            },
            RulePolicyTests.rule { rule in
                rule.match.process = node
                rule.action = .ignore
            },
        ])
        let log = log
        return ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) { log.append($0) }
    }

    func table(_ number: UInt16, _ process: ListeningProcess?) -> ListenTable {
        ListenTable(
            revision: 1, source: ListenSource(mode: .netlink, push: .poll),
            listeners: [ListeningSocket(address: .anyV4, port: port(number), process: process)])
    }

    func pass(_ time: Duration, _ reconciler: ForwardReconciler) async {
        clock.advance(time)
        await reconciler.tick()
    }

    @Test("Nothing opens that a moment later is ignored or elsewhere")
    func toldInTime() async throws {
        let reconciler = try make()
        await reconciler.apply(table(5001, nil))
        #expect(await reconciler.holdBack(of: port(5001)) == nil)
        await pass(.milliseconds(50), reconciler)
        let sh = ListeningProcess(pid: 1, name: "sh")
        await reconciler.apply(table(5001, sh))
        #expect(log.take() == [])
        var described = sh
        described.details = ProcessDetails(command: "sh vite")
        await reconciler.apply(table(5001, described))
        #expect(log.take() == ["opened:9001"])
        // A rule in front that does not depend on it decides at once.
        await reconciler.apply(table(5002, nil))
        #expect(log.take() == ["closed:9001", "opened:8002"])
        await reconciler.apply(table(5010, nil))
        await reconciler.apply(table(5010, ListeningProcess(pid: 1, name: "node")))
        await pass(.seconds(1), reconciler)
        #expect(log.take() == ["closed:8002"])
    }

    @Test("What is open stays for a moment while the guest has not told again who listens")
    func toldAgain() async throws {
        let reconciler = try make()
        var process = ListeningProcess(pid: 1, name: "sh")
        let bare = table(5001, process)
        process.details = ProcessDetails(command: "sh vite")
        let whole = table(5001, process)
        await reconciler.apply(whole)
        #expect(log.take() == ["opened:9001"] && binder.noted == [9001])
        for _ in 0..<100 {
            await reconciler.apply(bare)
            // By name, too, nothing leads where it may be a moment later.
            #expect(binder.noted == [9001])
            await pass(.milliseconds(99), reconciler)
            await reconciler.apply(whole)
            await pass(.seconds(1), reconciler)
        }
        #expect(log.take() == [] && binder.openPorts == [9001])
        await reconciler.apply(bare)
        await pass(.milliseconds(100), reconciler)
        #expect(log.take() == ["closed:9001", "opened:5001"] && binder.noted == [5001])
        #expect(await reconciler.tick() == nil)
        // Another listener, which is known, is not waited for, nor is one whose port becomes a static forward's.
        await reconciler.apply(whole)
        await reconciler.apply(
            table(5001, ListeningProcess(pid: 1, name: "node", details: .init(command: "node"))))
        #expect(log.take() == ["closed:5001", "opened:9001", "closed:9001"])
        await reconciler.apply(whole)
        await reconciler.apply(bare)
        #expect(await reconciler.add(StaticPort(host: port(9001), guest: port(80))) == .opened)
        #expect(log.take() == ["opened:9001", "closed:9001", "opened:9001"])
    }

    @Test(
        "So it does where all that is not known is ignored or asked about, by name too",
        arguments: [(.ignore, ["closed:5001"]), (.ask, ["closed:5001", "asked:5001"])]
            as [(PortRule.Action, [String])])
    func toldAgainOfTheRest(_ rest: PortRule.Action, end: [String]) async throws {
        let vite = try TextPattern(text: "*vite*")
        let log = log
        let policy = RulePolicyTests.policy([
            RulePolicyTests.rule { $0.match.command = vite }, RulePolicyTests.rule { $0.action = rest },
        ])
        let reconciler = ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) {
            log.append($0)
        }
        var process = ListeningProcess(pid: 1, name: "sh")
        let bare = table(5001, process)
        process.details = ProcessDetails(command: "sh vite")
        let whole = table(5001, process)
        await reconciler.apply(whole)
        await reconciler.apply(bare)
        #expect(binder.noted == [5001])
        await pass(.milliseconds(99), reconciler)
        await reconciler.apply(whole)
        #expect(log.take() == ["opened:5001"] && binder.noted == [5001])
        await reconciler.apply(bare)
        await pass(.milliseconds(100), reconciler)
        #expect(log.take() == end && binder.noted == [])
        #expect(await reconciler.tick() == nil)
    }

    @Test("A guest that does not tell has the other rules after a tenth of a second")
    func neverTold() async throws {
        let reconciler = try make()
        await reconciler.apply(table(5010, nil))
        await pass(.milliseconds(99), reconciler)
        #expect(log.take() == [])
        await reconciler.apply(table(5010, nil))
        await pass(.milliseconds(1), reconciler)
        #expect(log.take() == ["opened:5010"])
        #expect(await reconciler.tick() == nil)
        // The next listener waits anew.
        await reconciler.apply(table(5011, nil))
        #expect(log.take() == ["closed:5010"])
        await reconciler.apply(table(5010, nil))
        #expect(log.take() == [])
    }
}
