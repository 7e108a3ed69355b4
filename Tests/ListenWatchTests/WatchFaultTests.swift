import Foundation
import Glibc
import Linux
import ListenWatch
import LiveKernel
import Ports
import Synchronization
import TestSupport
import Testing

/// Each thing a watcher stands on, really taken away from its thread.
@Suite("What is missing or breaks", .timeLimit(.minutes(1)))
struct WatchFaultTests {
    @Test("Without tracefs the watcher polls, says why, and all is still seen")
    func noTracefs() async throws {
        let watching = try await Watching {
            $0.push = .tracepoint
            $0.tracefs = TraceFS(mounts: ["/nonexistent"], mayDetach: false)
        }
        #expect(watching.watcher.source.push == .poll)
        #expect(watching.watcher.source.degraded?.contains("tracefs") == true)
        #expect(watching.log.contains { $0.contains("tracefs") })
        try await opensAndCloses(watching)
    }

    @Test("Where tracefs is not mounted, one that is mounted nowhere does")
    func detachedTracefs() async throws {
        let watching = try await Watching {
            $0.push = .tracepoint
            $0.tracefs = TraceFS(mounts: [], mayDetach: true)
        }
        #expect(watching.watcher.source.push == .tracepoint)
        try await opensAndCloses(watching)
    }

    @Test("Without CAP_PERFMON and CAP_SYS_ADMIN perf is refused, and the watcher steps down")
    func noCapability() async throws {
        // Opened here, with the privilege, so that only perf_event_open can fail there.
        let tracefs = try KernelControl.detachedTracefs()
        let mount = "/proc/self/fd/\(tracefs.rawValue)"
        let watching = try await Watching {
            $0.prepareThread = KernelControl.dropPerfCapabilities
            $0.tracefs = TraceFS(mounts: [mount], mayDetach: false)
        }
        #expect(watching.watcher.source.push == .poll)
        #expect(watching.log.contains { $0.contains("perf_event_open") })
        try await opensAndCloses(watching)
        withExtendedLifetime(tracefs) {}
    }

    @Test("perf_event_paranoid = 4 stops only those without the capability")
    func paranoid() async throws {
        let file = "/proc/sys/kernel/perf_event_paranoid"
        let before = try String(contentsOfFile: file, encoding: .utf8)
        try "4".write(toFile: file, atomically: false, encoding: .utf8)
        defer { try? before.write(toFile: file, atomically: false, encoding: .utf8) }
        let able = try await Watching()
        #expect(able.watcher.source.push == Watching.best)
        let unable = try await Watching { $0.prepareThread = KernelControl.dropPerfCapabilities }
        #expect(unable.watcher.source.push == .poll)
        try await opensAndCloses(unable)
    }

    @Test("Polling alone sees all that stays")
    func pollOnly() async throws {
        let watching = try await Watching { $0.push = .poll }
        #expect(watching.watcher.source.push == .poll)
        try await opensAndCloses(watching)
    }

    @Test("Without sock_diag the default mode falls back to procfs and says why")
    func noSockDiag() async throws {
        let watching = try await Watching(mode: nil) { $0.prepareThread = KernelControl.forbidNetlink }
        #expect(watching.watcher.source.mode == .procfs)
        #expect(watching.watcher.source.push == .poll)
        #expect(watching.watcher.source.degraded?.contains("netlink") == true)
        #expect(watching.log.contains { $0.contains("falling back to procfs") })
        try await opensAndCloses(watching)
    }

    @Test("Without sock_diag mode netlink does not start")
    func noSockDiagExplicit() async throws {
        await #expect(throws: ListenWatchError.self) {
            _ = try await Watching(mode: .netlink) { $0.prepareThread = KernelControl.forbidNetlink }
        }
    }

    @Test("Mode procfs needs no netlink at all")
    func procfsWithoutNetlink() async throws {
        let watching = try await Watching(mode: .procfs) { $0.prepareThread = KernelControl.forbidNetlink }
        #expect(watching.log.isEmpty)
        try await opensAndCloses(watching)
    }

    @Test("Mode procfs does not start on a root without net/tcp, or with garbage in it")
    func badRoot() async throws {
        let root = try ProcRoot("neither a header nor a row\n")
        for path in ["/nonexistent", root.path] {
            await #expect(throws: ListenWatchError.self) {
                _ = try await Watching(mode: .procfs) { $0.procRoot = path }
            }
        }
    }

    @Test("Garbage in the middle of a run keeps the last table, says degraded, and heals")
    func degraded() async throws {
        let header = "  sl  local_address rem_address   st\n"
        let row =
            "   0: 0100007F:1389 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 0 1\n"
        let root = try ProcRoot(header + row)
        let watching = try await Watching(mode: .procfs) { $0.procRoot = root.path }
        #expect(watching.watcher.current().ports.map(\.rawValue) == [5001])
        try root.write(header + row + "   1: garbage\n")
        let degraded = try #require(await watching.table { $0.source.degraded != nil })
        #expect(degraded.ports.map(\.rawValue) == [5001])
        #expect(watching.log.contains { $0.contains("line 3") })
        try root.write(header)
        let healed = try #require(await watching.table { $0.source.degraded == nil })
        #expect(healed.listeners.isEmpty)
        #expect(watching.log.contains { $0.contains("again") })
    }

    @Test("A CPU that comes online gets its own ring at the next resync")
    func hotplug() async throws {
        let online = OnlineSwitch()
        let watching = try await Watching {
            $0.onlineCPUs = { online.list }
            $0.resyncInterval = .milliseconds(20)
        }
        online.addAll()
        // From now on listeners on every CPU come with their event, so with the time of their call.
        let cpus = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        for cpu in 0..<Int32(cpus) {
            let deadline = ContinuousClock.now + .seconds(10)
            var stamped = false
            while !stamped, ContinuousClock.now < deadline {
                let socket = try await watching.namespace.run {
                    try KernelControl.pin(cpu: cpu)
                    return try TestListener(.loopbackV4)
                }
                let table = await watching.table { $0.listener(socket) != nil }
                stamped = table?.listener(socket)?.listenedAt != nil
            }
            #expect(stamped, "CPU \(cpu)")
        }
    }

    @Test("A tracepoint that has gone silent is given up for polling")
    func silentTracepoint() async throws {
        // Rings on a CPU list that leaves out where the listeners are made: events that never come.
        let watching = try await Watching {
            $0.push = .tracepoint
            $0.onlineCPUs = { [0] }
            $0.resyncInterval = .milliseconds(20)
        }
        var sockets: [TestListener] = []
        let deadline = ContinuousClock.now + .seconds(20)
        while watching.watcher.source.push == .tracepoint, ContinuousClock.now < deadline {
            sockets.append(
                try await watching.namespace.run {
                    try KernelControl.pin(cpu: 1)
                    return try TestListener(.loopbackV4)
                })
            let keys = Set(sockets.map(\.key))
            #expect(await watching.shows(keys))
        }
        #expect(watching.watcher.source.push == .poll)
        #expect(watching.log.contains { $0.contains("lost tracepoint events") })
    }

    @Test("A watcher starts once")
    func startsOnce() async throws {
        let watching = try await Watching()
        await #expect(throws: ListenWatchError.self) { try await watching.watcher.start() }
    }

    @Test("A watcher that is stopped leaves no descriptor behind")
    func noLeak() async throws {
        let namespace = try await NetworkNamespace()
        func run() async throws {
            let watching = try await Watching(in: namespace)
            watching.watcher.stop()
        }
        try await run()
        let before = Self.kernelDescriptors()
        for _ in 0..<8 { try await run() }
        let deadline = ContinuousClock.now + .seconds(10)
        while Self.kernelDescriptors() > before, ContinuousClock.now < deadline { await Task.yield() }
        // Other tests run watchers of their own meanwhile; eight leaked ones would hold a ring or a program's link at least.
        #expect(Self.kernelDescriptors() < before + 8)
    }

    private func opensAndCloses(_ watching: Watching) async throws {
        do {
            let v4 = try await watching.listener()
            let v6 = try await watching.listener(.loopbackV6)
            #expect(await watching.shows([v4.key, v6.key]))
        }
        #expect(await watching.shows([]))
    }

    /// Rings, programs' links and maps.
    private static func kernelDescriptors() -> Int {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return files.count {
            let target = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")
            return target.map { $0.contains("perf_event") || $0.contains("bpf") } ?? false
        }
    }
}

/// A folder with a `net/tcp` of the test's making.
private final class ProcRoot: Sendable {
    private let folder: TestFolder
    var path: String { folder.path }

    init(_ tcp: String) throws {
        folder = try TestFolder()
        _ = try folder.folder("net")
        try write(tcp)
    }

    /// Replaces the file in one step, so that no reader sees half.
    func write(_ tcp: String) throws {
        try tcp.write(toFile: path + "/net/tcp", atomically: true, encoding: .utf8)
    }
}

/// A list of CPUs that starts with the first alone.
private final class OnlineSwitch: Sendable {
    private let count = Mutex(1)

    var list: [Int32] { (0..<Int32(count.withLock { $0 })).map { $0 } }

    func addAll() { count.withLock { $0 = sysconf(Int32(_SC_NPROCESSORS_ONLN)) } }
}
