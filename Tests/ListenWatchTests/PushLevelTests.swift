import Linux
import Ports
import Synchronization
import Testing

@testable import ListenWatch

/// Which source of hints is used, with sources that are as a test wants.
@Suite("Levels of push", .timeLimit(.minutes(1)))
struct PushLevelTests {
    /// What a level answers: nil works.
    private final class Machine: Sendable {
        let troubles = Mutex<[PushLevel: HintSourceLost]>([:])
        let opened = Mutex<[PushLevel]>([])

        subscript(_ level: PushLevel) -> HintSourceLost? {
            get { troubles.withLock { $0[level] } }
            set { troubles.withLock { $0[level] = newValue } }
        }

        func watching(_ change: (inout ListenWatcherOptions) -> Void = { _ in }) async throws -> Watching {
            try await Watching {
                $0.retryInterval = .milliseconds(50)
                $0.resyncInterval = .milliseconds(20)
                $0.openHints = { [self] (level, _) throws(HintSourceLost) in
                    opened.withLock { $0.append(level) }
                    if let trouble = self[level] { throw trouble }
                    return FakeSource(level) { self[level] }
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
        #expect(watching.log.isEmpty)
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
        #expect(watching.watcher.source == short)
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
        #expect(
            await watching.table { $0.source.push == .tracepoint }?.source.degraded == "no bpf events: gone")
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
    private let trouble: () -> HintSourceLost?

    init(_ push: PushLevel, _ trouble: @escaping () -> HintSourceLost?) {
        (self.push, self.trouble) = (push, trouble)
    }

    func hasFailed(_ wake: Poller.Wake) -> Bool { false }

    func drain(into batch: inout HintBatch, after wake: Poller.Wake) {}

    func refresh() throws(HintSourceLost) -> Bool {
        if let trouble = trouble() { throw trouble }
        return false
    }

    func reopen() throws(HintSourceLost) {}
}
