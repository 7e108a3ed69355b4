import Linux
import Ports
import Testing

@testable import ListenWatch

@Suite("The schedule between hints and looks")
struct DirtyPortsTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000)

    @Test("An event that comes before its socket can be seen is looked up again until the socket is there")
    func visibilityRace() throws {
        var dirty = DirtyPorts()
        dirty.mark(hint(.opened, 80), now: start)
        var times: [MonotonicTime] = []
        while let due = dirty.nextDue {
            let look = try #require(dirty.look(now: due, mayDump: true, lookups: 4))
            times.append(due)
            dirty.answered(look, now: due) { _ in times.count == 5 }
        }
        let delays = times.map { $0 - start }
        #expect(delays == [.zero, .zero, .microseconds(20), .microseconds(70), .microseconds(270)])
    }

    @Test("A socket that never shows, as in another namespace, is given up after 57 ms")
    func givenUp() throws {
        var dirty = DirtyPorts()
        dirty.mark(hint(.opened, 80), now: start)
        var now = start
        while let due = dirty.nextDue {
            now = due
            let look = try #require(dirty.look(now: now, mayDump: true, lookups: 4))
            dirty.answered(look, now: now) { _ in false }
        }
        #expect(now - start == .microseconds(56_270))
        #expect(dirty.isEmpty)
    }

    @Test(
        "A socket that another namespace's thread made is looked for once more after a miss, not seven times"
    )
    func foreign() throws {
        var dirty = DirtyPorts()
        dirty.mark(hint(.opened, 80), now: start)
        var delays: [Duration] = []
        while let due = dirty.nextDue {
            delays.append(due - start)
            let look = try #require(dirty.look(now: due, mayDump: true, lookups: 4))
            // Only a single question finds out whose thread it was.
            dirty.answered(look, now: due, isForeign: { _ in delays.count == 1 }, isVisible: { _ in false })
        }
        #expect(delays == [.zero, .milliseconds(50)])
    }

    @Test("One of ours among another namespace's keeps a port on the full schedule")
    func mixed() throws {
        var dirty = DirtyPorts()
        var foreign = hint(.opened, 80)
        foreign.address = .loopbackV6
        dirty.mark(hint(.opened, 80), now: start)
        dirty.mark(foreign, now: start)
        let look = try #require(dirty.look(now: start, mayDump: true, lookups: 4))
        dirty.answered(look, now: start, isForeign: { $0 == foreign }, isVisible: { _ in false })
        #expect(dirty.nextDue == start)
    }

    @Test("The close of a port that nobody is known to listen on asks for nothing")
    func strangersClose() {
        var dirty = DirtyPorts()
        dirty.mark(hint(.closed, 80), now: start) { _ in false }
        #expect(dirty.isEmpty)
    }

    @Test("A few dumps may follow each other at once after a quiet time, in the long run one a millisecond")
    func budget() {
        var dumps = DumpBudget()
        var now = start
        var atOnce = 0
        while dumps.allow(now) {
            dumps.spend(.microseconds(20), now: now)
            atOnce += 1
        }
        #expect(atOnce == 4)
        var count = 0
        while now < start + .seconds(1) {
            now = max(now, dumps.nextAllowed)
            dumps.spend(.microseconds(20), now: now)
            count += 1
        }
        #expect(count <= 1001)
        // What takes long is paid for with nine times its length.
        now = start + .seconds(2)
        dumps.spend(.milliseconds(10), now: now)
        #expect(dumps.nextAllowed == now + .milliseconds(87))
    }

    @Test(
        "The first look asks for the owner; the second is a dump, which also shows sockets bound to a device")
    func dumpAfterMiss() throws {
        var dirty = DirtyPorts()
        let hint = hint(.opened, 80)
        dirty.mark(hint, now: start)
        let first = try #require(dirty.look(now: start, mayDump: true, lookups: 4))
        #expect(first == .owners([hint]))
        dirty.answered(first, now: start) { _ in false }
        #expect(dirty.look(now: start, mayDump: true, lookups: 4) == .ports(try range("80")))
        #expect(dirty.look(now: start, mayDump: false, lookups: 4) == .owners([hint]))
    }

    @Test("A close never means that the port is gone: it asks for a dump, and 5 ms later for another")
    func close() throws {
        var dirty = DirtyPorts()
        dirty.mark(hint(.closed, 80), now: start)
        #expect(dirty.look(now: start, mayDump: false, lookups: 4) == nil)
        #expect(dirty.look(now: start, mayDump: true, lookups: 4) == .ports(try range("80")))
        dirty.answered(.ports(try range("80")), now: start) { _ in false }
        #expect(dirty.nextDue == start + .milliseconds(5))
        dirty.answered(.ports(try range("80")), now: start + .milliseconds(5)) { _ in false }
        #expect(dirty.isEmpty)
    }

    @Test("Many ports are one dump of the range that holds them")
    func coalesced() throws {
        var dirty = DirtyPorts()
        for port: UInt16 in [5000, 5900, 5100, 5050, 5060] { dirty.mark(hint(.opened, port), now: start) }
        #expect(dirty.look(now: start, mayDump: true, lookups: 4) == .ports(try range("5000-5900")))
        #expect(dirty.look(now: start, mayDump: false, lookups: 4) == nil)
    }

    @Test("A port chosen during listen(2) is not in the event: everything is looked at, four times")
    func unbound() throws {
        var dirty = DirtyPorts()
        var hint = hint(.opened, 80)
        hint.port = nil
        dirty.mark(hint, now: start)
        var delays: [Duration] = []
        while let due = dirty.nextDue {
            #expect(dirty.look(now: due, mayDump: true, lookups: 4) == .all)
            #expect(dirty.unboundHints == [hint])
            delays.append(due - start)
            dirty.answered(.all, now: due) { _ in false }
        }
        #expect(delays == [.zero, .milliseconds(1), .milliseconds(5), .milliseconds(50)])
        #expect(dirty.unboundHints.isEmpty)
    }

    @Test("Looks at everything stay few while events are lost without end, and the first is not put off")
    func bounded() {
        var dirty = DirtyPorts()
        for step in 0..<1000 {
            dirty.lookAtAll(after: DirtyPorts.trailing, now: start + .microseconds(100 * step))
        }
        #expect(dirty.nextDue == start + .milliseconds(5))
        var looks = 0
        while let due = dirty.nextDue {
            dirty.answered(.all, now: due) { _ in false }
            looks += 1
        }
        #expect(looks <= 4)
    }

    @Test("The last looks for many sockets of other namespaces are made together")
    func foreignTogether() throws {
        var dirty = DirtyPorts()
        for index in 0..<20 as Range<UInt16> {
            let now = start + .milliseconds(1 + 2 * Int(index))
            dirty.mark(hint(.opened, 80 + index), now: now)
            let look = try #require(dirty.look(now: now, mayDump: true, lookups: 4))
            dirty.answered(look, now: now, isForeign: { _ in true }, isVisible: { _ in false })
        }
        #expect(dirty.nextDue == start + .milliseconds(100))
        let look = try #require(dirty.look(now: start + .milliseconds(100), mayDump: true, lookups: 4))
        dirty.answered(look, now: start + .milliseconds(100)) { _ in false }
        #expect(dirty.isEmpty)
    }

    @Test("A process that made several hints is one caller, and the hint of the very socket comes first")
    func callers() throws {
        var dirty = DirtyPorts()
        for pid: Int32 in [7, 8, 7, 9, 8] {
            var unbound = hint(.opened, 80)
            (unbound.port, unbound.pid) = (nil, pid)
            dirty.mark(unbound, now: start)
        }
        var own = hint(.opened, 80)
        own.pid = 9
        dirty.mark(own, now: start)
        let socket = ListeningSocket(address: .anyV4, port: try #require(PortNumber(80)))
        #expect(dirty.callers(of: socket) == [9, 8, 7])
    }

    @Test("What is remembered of one port does not grow")
    func memory() throws {
        var dirty = DirtyPorts()
        for index in 0..<100 {
            var hint = hint(.opened, 80)
            hint.address = .v4(0x7f00_0000 + UInt32(index))
            dirty.mark(hint, now: start)
        }
        guard case .owners(let hints)? = dirty.look(now: start, mayDump: false, lookups: 1000) else {
            Issue.record("no look")
            return
        }
        #expect(hints.count == 8)
    }

    private func hint(_ kind: ListenHint.Kind, _ port: UInt16) -> ListenHint {
        ListenHint(kind: kind, address: .anyV4, port: PortNumber(port), pid: 1, time: start)
    }

    private func range(_ text: String) throws -> PortRange { try #require(PortRange(text: text)) }
}
