import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

/// What a guest that misbehaves, or a host on which much is taken, can make the reconciler do.
@Suite("Limits of forwarding")
struct ForwardLimitTests {
    let binder = RecordingBinder()
    let clock = ManualClock()
    let log = EventLog()

    func make(maxAutoPorts: Int = 1024) -> ForwardReconciler {
        let log = log
        var policy = ForwardPolicy(
            staticPorts: [.init(host: port(80), guest: port(80))],
            autoPorts: PortRange(port(1024), port(65535)).map { .init(range: $0) })
        policy.maxAutoPorts = maxAutoPorts
        return ForwardReconciler(policy: policy, binder: binder, clock: clock.clock) { log.append($0) }
    }

    /// Lets a second pass in turns, as `run` would.
    func second(of reconciler: ForwardReconciler) async {
        for _ in 0..<50 {
            clock.advance(.milliseconds(20))
            await reconciler.tick()
        }
    }

    @Test("So many steps at once, then one for each interval")
    func rateLimit() {
        var limit = RateLimit(atOnce: 3, interval: .seconds(1))
        let second: UInt64 = 1_000_000_000
        func count(at now: UInt64) -> Int { (0..<10).count { _ in limit.take(at: now) } }
        #expect(count(at: 100 * second) == 3)
        #expect(limit.nextAt == 101 * second)
        #expect(count(at: 100 * second + second / 2) == 0)
        #expect(count(at: 102 * second) == 2)
        #expect(!limit.isRested(at: 104 * second) && limit.isRested(at: 105 * second))
        #expect(count(at: 200 * second) == 3)
    }

    @Test(
        "A port that flaps changes ten times, then twice a second, is told to once, and ends as the guest has it"
    )
    func flapping() async {
        let reconciler = make()
        await reconciler.start()
        _ = log.take()
        for _ in 0..<100 {
            await reconciler.apply(table([5001, 5002]))
            await reconciler.apply(table([5002]))
        }
        let first = log.take()
        #expect(first.count { $0 == "opened:5001" || $0 == "closed:5001" } == 10)
        #expect(first.count { $0 == "limited:5001" } == 1)
        // Its neighbour is not held up.
        #expect(first.count { $0 == "opened:5002" } == 1)
        for _ in 0..<4 {
            await second(of: reconciler)
            for _ in 0..<100 {
                await reconciler.apply(table([5001, 5002]))
                await reconciler.apply(table([5002]))
            }
        }
        let later = log.take()
        #expect(later.count <= 9 && !later.contains("limited:5001"))
        await reconciler.apply(table([5001, 5002]))
        await second(of: reconciler)
        #expect(binder.openPorts == [80, 5001, 5002])
        await reconciler.apply(table([5002]))
        await second(of: reconciler)
        #expect(binder.openPorts == [80, 5002])
    }

    @Test("All ports together are limited as well, and end as the guest has them")
    func floodOfPorts() async {
        let reconciler = make()
        await reconciler.start()
        for round in 0..<60 {
            let start = UInt16(2000 + round * 1000)
            await reconciler.apply(table(start..<(start + 1000)))
        }
        var events = log.take()
        // 8192 at once.
        #expect(events.count <= 8194 && events.count { $0 == "limited" } == 1)
        for _ in 0..<10 { await second(of: reconciler) }
        events = log.take()
        #expect(events.count <= 2510)
        await reconciler.apply(table(3000..<3010))
        for _ in 0..<10 { await second(of: reconciler) }
        #expect(binder.openPorts == [80] + Array(3000..<3010))
    }

    @Test("More ports than are forwarded: those that are open stay, and that some are left out is told once")
    func tooMany() async {
        let reconciler = make(maxAutoPorts: 100)
        await reconciler.start()
        await reconciler.apply(table(6000..<6050))
        _ = log.take()
        await reconciler.apply(table(5000..<6050))
        #expect(binder.openPorts == [80] + Array(5000..<5050) + Array(6000..<6050))
        #expect(
            log.all.first?.reason
                == "the guest listens on 1050 ports, and 100 are forwarded at most (auto_ports.max, --max): "
                + "950 are left out")
        #expect(log.take().count { $0 == "limited" } == 1)
        await reconciler.apply(table(5000..<6050))
        #expect(log.take() == [])
        await reconciler.apply(table(5040..<5060))
        #expect(binder.openPorts == [80] + Array(5040..<5060))
    }

    @Test(
        "Two thousand blocked ports are tried a thousand times a second, in small turns; a few, every 50 ms")
    func blocked() async throws {
        let reconciler = make(maxAutoPorts: 2000)
        let ports: Range<UInt16> = 6000..<8000
        for number in ports { binder.fail(number, with: EADDRINUSE) }
        await reconciler.apply(table(ports))
        await second(of: reconciler)
        var before = binder.tries
        for _ in 0..<250 {
            clock.advance(.milliseconds(20))
            let start = binder.tries
            await reconciler.tick()
            #expect(binder.tries - start <= 50)
        }
        #expect((4500...5050).contains(binder.tries - before))
        await reconciler.apply(table(6000..<6010))
        await second(of: reconciler)
        await second(of: reconciler)
        before = binder.tries
        await second(of: reconciler)
        #expect((150...200).contains(binder.tries - before))
        for number in ports { binder.fail(number, with: nil) }
        for _ in 0..<5 {
            clock.advance(.milliseconds(20))
            await reconciler.tick()
        }
        #expect(binder.openPorts == [80] + Array(6000..<6010))
    }

    @Test("A blocked port that was told and is not wanted any more is told to be closed, with the reason")
    func withdrawn() async {
        let reconciler = make()
        await reconciler.agentConnected(instanceID: "a", bootID: "1")
        for number in [5001, 5002, 5003] as [UInt16] { binder.fail(number, with: EADDRINUSE) }
        await reconciler.apply(table([5001, 5002, 5003]))
        await reconciler.announceBlocked()
        _ = log.take()
        await reconciler.apply(table([5002, 5003]))
        #expect(log.all.last?.reason == "nothing listens there in the guest any more")
        #expect(log.all.last?.failure?.isBusy == true)
        #expect(log.take() == ["closed:5001"])
        await reconciler.agentLost(reason: "gone")
        clock.advance(.seconds(5))
        await reconciler.tick()
        #expect(log.all.last?.reason == "the agent is lost")
        #expect(log.take() == ["agent_lost", "closed:5002", "closed:5003"])
    }
}
