import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import SockDiag
import Synchronization
import TestSupport
import Testing

@testable import ListenWatch

/// What makes a watcher doubt its source of hints, and what must not.
@Suite("Doubt about events", .timeLimit(.minutes(1)))
struct MissedEventTests {
    @Test("A change that a resync sees before its event has been read was not missed")
    func readWithTheDump() async throws {
        let machine = ChangingMachine()
        let watching = try await Watching {
            $0.resyncInterval = .milliseconds(5)
            $0.openNetlink = { () throws(SnapshotFailed) in ChangingSnapshotter(machine) }
            $0.openHints = { (_, _) throws(HintSourceLost) in ChangingSource(machine) }
        }
        try await eventually("twenty looks") { machine.changes > 20 }
        #expect(watching.log.isEmpty)
        #expect(watching.watcher.source == ListenSource(mode: .netlink, push: .bpf))
    }

    @Test("More news of devices than there is room for is no reason to give events up")
    func manyDevices() async throws {
        let watching = try await Watching()
        let sysfs: OwnedDescriptor
        do {
            sysfs = try await watching.namespace.run { try KernelControl.detachedSysfs() }
        } catch let error as SystemError {
            try Test.cancel("no device can be made to tell something here; run as root: \(error)")
        }
        // News of a network device stay in its namespace (lib/kobject_uevent.c): this machine's udev sees nothing of these.
        let device = "/proc/self/fd/\(sysfs.rawValue)/class/net/lo/uevent"
        let gate = Gate()
        watching.watcher.onPublish { _ in gate.pass() }
        var sockets: [TestListener] = []
        for _ in 0..<3 {
            gate.shut()
            defer { gate.open() }
            sockets.append(try await watching.listener())
            try await eventually("the watcher is held up") { gate.isHolding }
            let areTooMany = try await watching.namespace.run {
                let news = try CPUChanges()
                for _ in 0..<1000 { try "change".write(toFile: device, atomically: false, encoding: .utf8) }
                return news.read().areIncomplete
            }
            #expect(areTooMany)
            gate.open()
            #expect(await watching.shows(Set(sockets.map(\.key))))
            try await watching.settle()
        }
        #expect(!watching.log.contains { $0.contains("reports an error") }, "\(watching.log)")
        #expect(watching.watcher.source.push == Watching.best)
    }
}

/// Holds a thread up.
private final class Gate: Sendable {
    private let isShut = Atomic(false)
    private let holds = Atomic(false)

    var isHolding: Bool { holds.load(ordering: .acquiring) }

    func shut() { isShut.store(true, ordering: .releasing) }
    func open() { isShut.store(false, ordering: .releasing) }

    func pass() {
        while isShut.load(ordering: .acquiring) {
            holds.store(true, ordering: .releasing)
            usleep(1000)
        }
        holds.store(false, ordering: .releasing)
    }
}

/// A machine on which a listener comes or goes while the kernel is asked, each time, with its event.
private final class ChangingMachine: Sendable {
    private let state = Mutex<(changes: Int, hints: [ListenHint])>((0, []))

    var changes: Int { state.withLock { $0.changes } }

    func dump() -> ListenerDump {
        state.withLock { state in
            state.changes += 1
            let socket = ListeningSocket(address: .anyV4, port: .ssh)
            let isThere = state.changes % 2 == 0
            state.hints.append(
                ListenHint(
                    kind: isThere ? .opened : .closed, address: .anyV4, port: .ssh, time: .now, isOurs: true))
            let rows = isThere ? [ObservedListener(socket: socket, inode: 0)] : []
            return ListenerDump(listeners: rows, mayMissSome: false)
        }
    }

    func takeHints() -> [ListenHint] {
        state.withLock { state in
            defer { state.hints = [] }
            return state.hints
        }
    }
}

private final class ChangingSnapshotter: ListenSnapshotter {
    let mode = ListenMode.netlink
    private let machine: ChangingMachine

    init(_ machine: ChangingMachine) { self.machine = machine }

    func dump(of range: PortRange) throws(SnapshotFailed) -> ListenerDump { machine.dump() }

    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener? { nil }

    func stillListening(
        _ suspects: [ObservedListener], in range: PortRange
    ) throws(SnapshotFailed) -> [ObservedListener] { [] }
}

private final class ChangingSource: HintSource {
    let push = PushLevel.bpf
    let descriptors: [Int32] = []
    let slowToClose: [Int32] = []
    private let machine: ChangingMachine

    init(_ machine: ChangingMachine) { self.machine = machine }

    func hasFailed(_ wake: Poller.Wake) -> Bool { false }

    func drain(into batch: inout HintBatch, after wake: Poller.Wake) { batch.hints += machine.takeHints() }

    func refresh() throws(HintSourceLost) -> Bool { false }

    func reopen() throws(HintSourceLost) {}
}
