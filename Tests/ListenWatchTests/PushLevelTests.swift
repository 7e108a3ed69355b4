import Glibc
import Linux
import LiveKernel
import Ports
import Synchronization
import TestSupport
import Testing

@testable import ListenWatch

/// Which source of hints is used, with sources that are as a test wants.
@Suite("Levels of push", .timeLimit(.minutes(1)))
struct PushLevelTests {
    /// What a level answers: nil works.
    fileprivate final class Machine: Sendable {
        let troubles = Mutex<[PushLevel: HintSourceLost]>([:])
        let opened = Mutex<[PushLevel]>([])
        /// Opening programs waits until it is let go.
        let gate = Mutex(false)
        /// Sources that are open, and all that ever were.
        let sources = Mutex(0)
        let made = Mutex(0)

        subscript(_ level: PushLevel) -> HintSourceLost? {
            get { troubles.withLock { $0[level] } }
            set { troubles.withLock { $0[level] = newValue } }
        }

        func waitAtGate() {
            while gate.withLock({ $0 }) { usleep(1000) }
        }

        func watching(
            settles: Bool = true, _ change: (inout ListenWatcherOptions) -> Void = { _ in }
        ) async throws -> Watching {
            try await Watching(settles: settles) {
                $0.retryInterval = .milliseconds(50)
                $0.resyncInterval = .milliseconds(20)
                $0.openHints = { [self] (level, _) throws(HintSourceLost) in
                    opened.withLock { $0.append(level) }
                    if level == .bpf { waitAtGate() }
                    if let trouble = self[level] { throw trouble }
                    return FakeSource(level, self)
                }
                change(&$0)
            }
        }
    }

    private let lost = HintSourceLost(description: "not permitted")

    @Test("Programs come before the tracepoint")
    func best() async throws {
        let watching = try await Machine().watching()
        #expect(watching.watcher.source == ListenSource(mode: .netlink, push: .bpf))
        #expect(watching.watcher.pushReason == nil)
        #expect(watching.log.isEmpty)
    }

    @Test("The start doesn't wait for programs: the tracepoint serves while they are set up, and says so")
    func background() async throws {
        let machine = Machine()
        let notes = Notes()
        machine.gate.withLock { $0 = true }
        let watching = try await machine.watching(settles: false) { $0.note = { line in notes.add(line) } }
        #expect(watching.watcher.source == ListenSource(mode: .netlink, push: .tracepoint))
        #expect(watching.watcher.pushReason == ListenWatcher.settingUp)
        machine.gate.withLock { $0 = false }
        #expect(await watching.table { $0.source == ListenSource(mode: .netlink, push: .bpf) } != nil)
        try await eventually("no reason") { watching.watcher.pushReason == nil }
        #expect(notes.lines == ["push bpf"])
        // The tracepoint has been closed.
        try await eventually("one source") { machine.sources.withLock { $0 } == 1 }
    }

    @Test("While programs are set up without a tracepoint it polls, says what is missing, and all is seen")
    func backgroundPoll() async throws {
        let machine = Machine()
        machine.gate.withLock { $0 = true }
        machine[.tracepoint] = lost
        let watching = try await machine.watching(settles: false)
        let short = ListenSource(mode: .netlink, push: .poll, degraded: "no tracepoint events: not permitted")
        #expect(watching.watcher.source == short)
        #expect(watching.watcher.pushReason == nil)
        let socket = try await watching.listener()
        #expect(await watching.shows([socket.key]))
        machine.gate.withLock { $0 = false }
        #expect(await watching.table { $0.source == ListenSource(mode: .netlink, push: .bpf) } != nil)
    }

    @Test(
        "A watcher that is stopped while programs are set up ends at once, and what is opened later is closed"
    )
    func stoppedMeanwhile() async throws {
        let machine = Machine()
        machine.gate.withLock { $0 = true }
        let watching = try await machine.watching(settles: false)
        watching.watcher.stop()
        // The tracepoint's goes with the thread.
        try await eventually("the thread's end") { machine.sources.withLock { $0 } == 0 }
        machine.gate.withLock { $0 = false }
        try await eventually("programs opened") { machine.made.withLock { $0 } == 2 }
        try await eventually("programs closed") { machine.sources.withLock { $0 } == 0 }
    }

    @Test("No listener loses its event while programs take over from the tracepoint")
    func handOver() async throws {
        for _ in 0..<5 {
            let gate = Machine()
            gate.gate.withLock { $0 = true }
            let watching = try await Watching(settles: false) {
                $0.openHints = { (level, options) throws(HintSourceLost) in
                    if level == .bpf { gate.waitAtGate() }
                    // The live tracepoint in both places.
                    return Renamed(level, try WatchSources.openHints(.tracepoint, options))
                }
            }
            var sockets: [TestListener] = []
            for index in 0..<40 {
                if index == 20 { gate.gate.withLock { $0 = false } }
                sockets.append(try await watching.listener())
            }
            try await watching.settled()
            #expect(watching.watcher.source.push == .bpf)
            let all = sockets
            let table = await watching.table { table in all.allSatisfy { table.listener($0) != nil } }
            let stamped = all.filter { table?.listener($0)?.listenedAt != nil }
            #expect(stamped.count == 40)
        }
    }

    @Test(
        "Where the kernel has no programs the tracepoint is as good as it gets: not degraded, noted once, not tried again"
    )
    func none() async throws {
        let machine = Machine()
        let notes = Notes()
        machine[.bpf] = lost
        let watching = try await machine.watching { $0.note = { line in notes.add(line) } }
        #expect(watching.watcher.source == ListenSource(mode: .netlink, push: .tracepoint))
        #expect(watching.watcher.pushReason == "no bpf events: not permitted")
        machine[.tracepoint] = HintSourceLost(description: "gone")
        #expect(await watching.table { $0.source.push == .poll } != nil)
        machine[.tracepoint] = nil
        #expect(await watching.table { $0.source.push == .tracepoint }?.source.degraded == nil)
        #expect(machine.opened.withLock { $0.count { $0 == .bpf } } == 1)
        #expect(notes.lines == ["no bpf events: not permitted"])
    }

    @Test("A shortage of memory or descriptors at the start passes, and the programs are used then")
    func shortage() async throws {
        let machine = Machine()
        machine[.bpf] = HintSourceLost(description: "no memory", isPassing: true)
        let watching = try await machine.watching()
        let short = ListenSource(mode: .netlink, push: .tracepoint, degraded: "no bpf events: no memory")
        #expect(await watching.table { $0.source == short } != nil)
        machine[.bpf] = nil
        #expect(await watching.table { $0.source == ListenSource(mode: .netlink, push: .bpf) } != nil)
        #expect(watching.log == ["no bpf events: no memory", "bpf events again"])
    }

    @Test("Programs that are lost lead to the tracepoint, that to polling, and all the way back")
    func steps() async throws {
        let machine = Machine()
        let watching = try await machine.watching()
        let passing = HintSourceLost(description: "gone", isPassing: true)
        machine[.bpf] = passing
        #expect(
            await watching.table { $0.source.push == .tracepoint }?.source.degraded == "no bpf events: gone")
        // Without polling in between, which would have led to "tracepoint events again".
        #expect(watching.log == ["lost bpf events: gone"])
        machine[.tracepoint] = passing
        #expect(
            await watching.table { $0.source.push == .poll }?.source.degraded == "no tracepoint events: gone")
        machine[.tracepoint] = nil
        let short = ListenSource(mode: .netlink, push: .tracepoint, degraded: "no bpf events: gone")
        #expect(await watching.table { $0.source == short } != nil)
        machine[.bpf] = nil
        #expect(await watching.table { $0.source == ListenSource(mode: .netlink, push: .bpf) } != nil)
    }

    @Test("What is asked for bounds it")
    func bounds() async throws {
        let machine = Machine()
        let watching = try await machine.watching { $0.push = .tracepoint }
        #expect(watching.watcher.source == ListenSource(mode: .netlink, push: .tracepoint))
        #expect(machine.opened.withLock { $0 } == [.tracepoint])
    }

    @Test("This machine has one of them")
    func live() async throws {
        let notes = Notes()
        let watching = try await Watching { $0.note = { line in notes.add(line) } }
        let source = watching.watcher.source
        #expect(source.degraded == nil)
        // Programs, or a reason.
        #expect(
            source.push == .bpf || (source.push == .tracepoint && notes.lines.count == 1), "\(notes.lines)")
        #expect(watching.watcher.pushReason == (source.push == .bpf ? nil : notes.lines.first))
    }

    private final class Notes: Sendable {
        private let text = Mutex<[String]>([])
        var lines: [String] { text.withLock { $0 } }
        func add(_ line: String) { text.withLock { $0.append(line) } }
    }
}

/// A source that never has a hint, and is lost when its machine says so.
private final class FakeSource: HintSource {
    let push: PushLevel
    let descriptors: [Int32] = []
    let slowToClose: [Int32] = []
    private let machine: PushLevelTests.Machine

    init(_ push: PushLevel, _ machine: PushLevelTests.Machine) {
        (self.push, self.machine) = (push, machine)
        machine.made.withLock { $0 += 1 }
        machine.sources.withLock { $0 += 1 }
    }

    func hasFailed(_ wake: Poller.Wake) -> Bool { false }

    deinit { machine.sources.withLock { $0 -= 1 } }

    func drain(into batch: inout HintBatch, after wake: Poller.Wake) {}

    func refresh() throws(HintSourceLost) -> Bool {
        if let trouble = machine[push] { throw trouble }
        return false
    }

    func reopen() throws(HintSourceLost) {}
}

/// A source under the name of another level.
private final class Renamed: HintSource {
    let push: PushLevel
    private let source: any HintSource

    init(_ push: PushLevel, _ source: any HintSource) { (self.push, self.source) = (push, source) }

    var descriptors: [Int32] { source.descriptors }
    var slowToClose: [Int32] { source.slowToClose }
    func hasFailed(_ wake: Poller.Wake) -> Bool { source.hasFailed(wake) }

    func drain(into batch: inout HintBatch, after wake: Poller.Wake) {
        source.drain(into: &batch, after: wake)
    }
    func refresh() throws(HintSourceLost) -> Bool { try source.refresh() }
    func reopen() throws(HintSourceLost) { try source.reopen() }
}
