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

/// What breaks under a running watcher and mends again.
@Suite("The way back up", .timeLimit(.minutes(1)), .serialized)
struct WatchRecoveryTests {
    @Test("A CPU that goes off and on between two resyncs reports its listeners again at once")
    func sameCPU() async throws {
        let switchFile = "/sys/devices/system/cpu/cpu1/online"
        guard access(switchFile, W_OK) == 0 else {
            try Test.cancel("this machine can't take CPU 1 off; run as root on one with two CPUs")
        }
        let watching = try await Watching()
        try "0".write(toFile: switchFile, atomically: false, encoding: .utf8)
        try "1".write(toFile: switchFile, atomically: false, encoding: .utf8)
        // The resync is 15 s away, so only an event can bring the time of the call.
        try await eventually("a listener of CPU 1 comes with its event", within: .seconds(5)) {
            try await stamped(watching, cpu: 1)
        }
        #expect(watching.watcher.source.push == Watching.best)
    }

    @Test("After a suspend all rings are opened afresh")
    func suspended() async throws {
        let suspended = Mutex(Duration.seconds(5))
        let asleep = Shared(suspended)
        let watching = try await Watching { $0.timeSuspended = { asleep.value.withLock { $0 } } }
        #expect(try await stamped(watching, cpu: 0))
        #expect(!watching.log.contains { $0.contains("suspended") })
        asleep.value.withLock { $0 += .seconds(60) }
        // Its event may fall between the old rings and the new ones; it is seen all the same.
        let socket = try await watching.listener()
        #expect(await watching.table { $0.listener(socket) != nil } != nil)
        try await eventually("a line in the log") { watching.log.contains { $0.contains("suspended") } }
        #expect(try await stamped(watching, cpu: 0))
        #expect(watching.watcher.source.push == Watching.best)
    }

    @Test("A list of CPUs that can't be read keeps the rings there are")
    func unreadableCPUs() async throws {
        let isReadable = Shared(Mutex(true))
        let watching = try await Watching {
            $0.resyncInterval = .milliseconds(20)
            $0.onlineCPUs = { isReadable.value.withLock { $0 } ? OnlineCPUs.list() : [] }
        }
        isReadable.value.withLock { $0 = false }
        let later = ContinuousClock.now + .milliseconds(100)
        while ContinuousClock.now < later { await Task.yield() }
        #expect(try await stamped(watching, cpu: 0))
        #expect(watching.watcher.source.push == Watching.best)
    }

    @Test("A single missed event has all rings opened afresh, and they are kept")
    func singleMiss() async throws {
        let watching = try await Watching {
            $0.onlineCPUs = { [0] }
            $0.resyncInterval = .milliseconds(20)
        }
        // One may not be noticed as unheard, when an event of another namespace comes just then.
        var unheard: [TestListener] = []
        try await eventually("the rings are opened again") {
            unheard.append(
                try await watching.namespace.run {
                    try KernelControl.pin(cpu: 1)
                    return try TestListener(.loopbackV4)
                })
            try await Task.sleep(for: .milliseconds(100))
            return watching.log.contains { $0.contains("opening \(Watching.best.rawValue) events again") }
        }
        try await eventually("all are listed") {
            unheard.allSatisfy { watching.watcher.current().listener($0) != nil }
        }
        #expect(watching.watcher.source == ListenSource(mode: .netlink, push: Watching.best))
    }

    @Test("A tracepoint that was missing is used once it is there, and until then the reason is told")
    func tracepointComes() async throws {
        let folder = try TestFolder()
        let mount = "\(folder.path)/tracing"
        let watching = try await Watching {
            $0.push = .tracepoint
            $0.tracefs = TraceFS(mounts: [mount], mayDetach: false)
            $0.retryInterval = .milliseconds(50)
        }
        #expect(watching.watcher.source.push == .poll)
        #expect(watching.watcher.source.degraded?.contains("tracefs is not readable") == true)
        let tracefs = try KernelControl.detachedTracefs()
        #expect(symlink("/proc/self/fd/\(tracefs.rawValue)", mount) == 0)
        #expect(await watching.table { $0.source.push == .tracepoint }?.source.degraded == nil)
        #expect(try await stamped(watching, cpu: 0))
        // One line for the loss, however often it was tried, and one for the return. Rings may be opened again between.
        let lines = watching.log
        #expect(lines.count { $0.contains("tracefs is not readable") } == 1, "\(lines)")
        #expect(lines.count { $0 == "tracepoint events again" } == 1, "\(lines)")
    }

    @Test("Netlink that was missing is used once it is there, with events")
    func netlinkComes() async throws {
        let isThere = Shared(Mutex(false))
        let watching = try await Watching(mode: nil) {
            $0.retryInterval = .milliseconds(50)
            $0.openNetlink = { () throws(SnapshotFailed) in
                guard isThere.value.withLock({ $0 }) else {
                    throw SnapshotFailed(description: "no tcp_diag", isPermanent: true)
                }
                return try NetlinkSnapshotter.open()
            }
        }
        #expect(watching.watcher.source == ListenSource(mode: .procfs, push: .poll, degraded: "no tcp_diag"))
        isThere.value.withLock { $0 = true }
        let best = ListenSource(mode: .netlink, push: Watching.best)
        #expect(await watching.table { $0.source == best } != nil)
        #expect(try await stamped(watching, cpu: 0))
    }

    @Test("A failure that stays leads to procfs and back; a shortage of memory leads nowhere")
    func failures() async throws {
        let failure = Shared(Mutex<SnapshotFailed?>(nil))
        let watching = try await Watching(mode: nil) {
            $0.retryInterval = .milliseconds(50)
            $0.resyncInterval = .milliseconds(20)
            $0.openNetlink = { () throws(SnapshotFailed) in
                try TroubledSnapshotter { failure.value.withLock { $0 } }
            }
        }
        let socket = try await watching.listener()
        #expect(await watching.shows([socket.key]))
        let shortage = SockDiagError.failed(SystemError(code: ENOMEM, operation: "receive"))
        failure.value.withLock { $0 = SnapshotFailed(shortage) }
        // Three failures in a row are the patience for one that stays; they take 1.4 s.
        let later = ContinuousClock.now + .seconds(2)
        while ContinuousClock.now < later { await Task.yield() }
        #expect(watching.watcher.source.mode == .netlink)
        #expect(watching.watcher.source.degraded?.contains("receive") == true)
        #expect(watching.watcher.current().listener(socket) != nil)
        failure.value.withLock { $0 = SnapshotFailed(description: "forbidden", isPermanent: true) }
        #expect(await watching.table { $0.source.mode == .procfs }?.listener(socket) != nil)
        failure.value.withLock { $0 = nil }
        let healed = await watching.table {
            $0.source == ListenSource(mode: .netlink, push: Watching.best)
        }
        #expect(healed?.listener(socket) != nil)
    }

    @Test("A listener that a dump in several pieces leaves out stays, and goes when it is closed")
    func leftOut() async throws {
        let forgets = Shared(Atomic(false))
        let watching = try await Watching {
            $0.resyncInterval = .milliseconds(20)
            $0.openNetlink = { () throws(SnapshotFailed) in
                try ForgetfulSnapshotter { forgets.value.load(ordering: .relaxed) }
            }
        }
        var sockets: [TestListener] = []
        for _ in 0..<3 { sockets.append(try await watching.listener()) }
        let keys = Set(sockets.map(\.key))
        #expect(await watching.shows(keys))
        forgets.value.store(true, ordering: .relaxed)
        let reader = Task { [watcher = watching.watcher] in
            var whole = true
            for await table in watcher.tables() { whole = whole && Set(table.listeners.map(\.key)) == keys }
            return whole
        }
        let later = ContinuousClock.now + .milliseconds(300)
        while ContinuousClock.now < later { await Task.yield() }
        reader.cancel()
        #expect(await reader.value)
        sockets.removeFirst()
        #expect(await watching.shows(Set(sockets.map(\.key))))
    }

    /// Whether a new listener, made on one CPU, comes with the time of its event.
    private func stamped(_ watching: Watching, cpu: Int32) async throws -> Bool {
        let socket = try await watching.namespace.run {
            try KernelControl.pin(cpu: cpu)
            return try TestListener(.loopbackV4)
        }
        let table = await watching.table { $0.listener(socket) != nil }
        return table?.listener(socket)?.listenedAt != nil
    }
}

/// Lets closures share what is not copyable.
private final class Shared<Value: ~Copyable & Sendable>: Sendable {
    let value: Value
    init(_ value: consuming Value) { self.value = value }
}

/// sock_diag that fails as a test wants.
private final class TroubledSnapshotter: ListenSnapshotter {
    let mode = ListenMode.netlink
    private let real: NetlinkSnapshotter
    private let failure: () -> SnapshotFailed?

    init(_ failure: @escaping () -> SnapshotFailed?) throws(SnapshotFailed) {
        if let failure = failure() { throw failure }
        real = try NetlinkSnapshotter()
        self.failure = failure
    }

    func dump(of range: PortRange) throws(SnapshotFailed) -> ListenerDump {
        if let failure = failure() { throw failure }
        return try real.dump(of: range)
    }

    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener? {
        if let failure = failure() { throw failure }
        return try real.listener(at: address, port: port)
    }

    func stillListening(
        _ suspects: [ObservedListener], in range: PortRange
    ) throws(SnapshotFailed) -> [ObservedListener] {
        try real.stillListening(suspects, in: range)
    }
}

/// sock_diag as on a kernel whose dumps skip a steady row when another one goes: here the first, as long as `forgets` says so.
private final class ForgetfulSnapshotter: ListenSnapshotter {
    let mode = ListenMode.netlink
    private let real: NetlinkSnapshotter
    private let forgets: () -> Bool

    init(_ forgets: @escaping () -> Bool) throws(SnapshotFailed) {
        real = try NetlinkSnapshotter()
        self.forgets = forgets
    }

    func dump(of range: PortRange) throws(SnapshotFailed) -> ListenerDump {
        let dump = try real.dump(of: range)
        return ListenerDump(listeners: Array(dump.listeners.dropFirst(forgets() ? 1 : 0)), mayMissSome: true)
    }

    func listener(at address: IPAddress, port: PortNumber) throws(SnapshotFailed) -> ObservedListener? {
        try real.listener(at: address, port: port)
    }

    func stillListening(
        _ suspects: [ObservedListener], in range: PortRange
    ) throws(SnapshotFailed) -> [ObservedListener] {
        try real.stillListening(suspects, in: range)
    }
}
