import Foundation
import Glibc
import Linux
import LiveKernel
import Ports
import TestSupport
import Testing

@testable import ListenWatch

/// What events do that a naive watcher gets wrong, each on the running kernel.
@Suite("Races and traps of listen(2)", .timeLimit(.minutes(3)))
struct WatchRaceTests {
    @Test(
        "Events are the source, and a listener comes with its process and the time of its listen call")
    func basics() async throws {
        let watching = try await Watching()
        #expect(watching.watcher.source == ListenSource(mode: .netlink, push: Watching.best))
        let before = Self.now()
        let socket = try await watching.listener(.anyV6)
        // The process is in the first table already, unless this test process has very many descriptors.
        let table = try #require(await watching.table { $0.listener(socket)?.process != nil })
        let listener = try #require(table.listener(socket))
        #expect(listener.process?.pid == getpid())
        let time = try #require(listener.listenedAt)
        #expect(time >= before && time <= Self.now())
    }

    @Test(
        "In a process of many descriptors the newest have their process at once, others soon"
    )
    func manyDescriptors() async throws {
        let watching = try await Watching()
        let files = try Self.files(200)
        let socket = try await watching.listener()
        let table = try #require(await watching.table { $0.listener(socket) != nil })
        #expect(table.listener(socket)?.process?.pid == getpid())
        let hidden = try await watching.listener { $0.listens = false }
        let more = try Self.files(100)
        try hidden.listen()
        #expect(await watching.table { $0.listener(hidden)?.process?.pid == getpid() } != nil)
        withExtendedLifetime((files, more)) {}
    }

    private static func files(_ count: Int) throws -> [FileHandle] {
        try (0..<count).map { _ in try FileHandle(forReadingFrom: URL(filePath: "/dev/null")) }
    }

    @Test("Every one of 300 listeners is seen although its event precedes it, and its close as well")
    func visibility() async throws {
        let watching = try await Watching()
        for _ in 0..<300 {
            do {
                let socket = try await watching.listener()
                #expect(await watching.table { $0.listener(socket) != nil } != nil)
            }
            #expect(await watching.table { $0.listeners.isEmpty } != nil)
        }
    }

    @Test("listen() without bind(): the event has port 0, and the port is found with its process")
    func unboundListen() async throws {
        let watching = try await Watching()
        let socket = try await watching.listener(.anyV4) { $0.binds = false }
        let table = await watching.table { $0.listener(socket)?.process != nil }
        #expect(table?.listener(socket)?.process?.pid == getpid())
    }

    @Test(
        "A second listen() that fails with EADDRINUSE does not take the port away, in no table at all",
        .tags(.timed))
    func failedSecondListen() async throws {
        let watching = try await Watching()
        let first = try await watching.listener { $0.listens = false }
        let port = first.port.rawValue
        let second = try await watching.listener(port: port) { $0.listens = false }
        try first.listen()
        #expect(await watching.table { $0.listener(first)?.process != nil } != nil)
        let reader = Task { [watcher = watching.watcher] in
            var tables: [ListenTable] = []
            for await table in watcher.tables() { tables.append(table) }
            return tables
        }
        for _ in 0..<20 {
            #expect(throws: SystemError(code: EADDRINUSE, operation: "listen")) { try second.listen() }
        }
        try await watching.settle()
        let last = watching.watcher.current().revision
        watching.watcher.stop()
        let tables = await reader.value
        #expect(tables.allSatisfy { $0.listener(first) != nil })
        // None was left out between the first and the last that the reader got.
        let revisions = tables.map(\.revision)
        #expect(revisions == Array((revisions.first ?? 0)...last))
    }

    @Test("A listener of another network namespace never shows, even on a port that listens in ours too")
    func otherNamespace() async throws {
        let watching = try await Watching()
        let other = try await NetworkNamespace()
        let own = try await watching.listener(port: 7001)
        #expect(await watching.shows([own.key]))
        let time = try #require(watching.watcher.current().listener(own)?.listenedAt)
        let foreign = try await other.run {
            [try TestListener(.loopbackV4, port: 7001), try TestListener(.loopbackV4, port: 7002)]
        }
        try await watching.settle()
        let table = watching.watcher.current()
        #expect(table.ports.map(\.rawValue) == [7001] || table.ports.map(\.rawValue) == [9, 7001])
        #expect(table.listener(own)?.listenedAt == time)
        #expect(foreign.count == 2)
    }

    @Test("A socket of ours that a thread of another namespace listens on is found")
    func listenedOnFromOutside() async throws {
        let watching = try await Watching()
        let other = try await NetworkNamespace()
        for _ in 0..<20 {
            do {
                let socket = try await watching.listener { $0.listens = false }
                try await other.run { try socket.listen() }
                #expect(await watching.table { $0.listener(socket) != nil } != nil)
            }
            #expect(await watching.table { $0.listeners.isEmpty } != nil)
        }
    }

    @Test("A caller's namespace is told from ours, and one that can't be asked counts as ours")
    func callersNamespace() async throws {
        // Not the task's own thread: one of the pool has the namespace of whichever thread made it, such as a watcher's.
        let (home, other) = (try await NetworkNamespace(), try await NetworkNamespace())
        let own = try await home.run { OwnNamespace(processRoot: "/proc") }
        let unreadable = OwnNamespace(processRoot: "/nowhere")
        #expect(try await home.run { !own.isForeign(Self.hintOfThisThread) })
        let (foreign, unknown) = try await other.run {
            (own.isForeign(Self.hintOfThisThread), unreadable.isForeign(Self.hintOfThisThread))
        }
        #expect(foreign)
        #expect(!unknown)
        // A thread that has ended leaves its process to ask, whose first thread is in neither.
        var ended = Self.hintOfThisThread
        ended.thread = .max
        #expect(own.isForeign(ended))
        ended.pid = .max
        #expect(!own.isForeign(ended))
    }

    private static var hintOfThisThread: ListenHint {
        ListenHint(
            kind: .opened, address: .anyV4, port: nil, pid: getpid(), time: MonotonicTime(nanoseconds: 0),
            thread: KernelControl.threadID)
    }

    @Test("SO_REUSEPORT: several sockets are one listener, which stays until the last is closed")
    func reusePort() async throws {
        let watching = try await Watching()
        var sockets: [TestListener] = []
        for _ in 0..<4 { sockets.append(try await watching.listener(port: 7001) { $0.reusePort = true }) }
        let key = sockets[0].key
        #expect(await watching.shows([key]))
        while sockets.count > 1 {
            sockets.removeFirst()
            try await watching.settle()
            #expect(watching.watcher.current().listeners.contains { $0.key == key })
        }
        sockets = []
        #expect(await watching.table { !$0.listeners.contains { $0.key == key } } != nil)
    }

    @Test("A listener shared with a child stays until the child ends, and is then the child's")
    func forkShared() async throws {
        let watching = try await Watching { $0.resyncInterval = .milliseconds(50) }
        var socket: TestListener? = try await watching.listener()
        let key = try #require(socket?.key)
        #expect(await watching.shows([key]))
        let child = try KernelControl.forkHolding(try #require(socket).descriptor.rawValue)
        socket = nil
        let inherited = await watching.table { $0.listeners.first { $0.key == key }?.process?.pid == child }
        KernelControl.end(child: child)
        #expect(inherited != nil)
        #expect(await watching.shows([]))
    }

    @Test("An MPTCP listener is one listener")
    func mptcp() async throws {
        let watching = try await Watching()
        let socket: TestListener
        do {
            socket = try await watching.listener { $0.proto = 262 }
        } catch let error as SystemError where error.code == EPROTONOSUPPORT || error.code == ENOPROTOOPT {
            try Test.cancel("this kernel has no MPTCP; run on one with CONFIG_MPTCP and net.mptcp.enabled=1")
        }
        #expect(await watching.shows([socket.key]))
    }

    @Test("listen() again on a listener changes nothing")
    func listenAgain() async throws {
        let watching = try await Watching()
        let socket = try await watching.listener()
        #expect(await watching.table { $0.listener(socket)?.process != nil } != nil)
        let before = watching.watcher.current().listener(socket)
        for _ in 0..<5 { try socket.listen() }
        try await watching.settle()
        #expect(watching.watcher.current().listener(socket)?.listenedAt == before?.listenedAt)
    }

    @Test("A server that restarts on its port is shown as the new socket")
    func restart() async throws {
        let watching = try await Watching()
        var times: Set<UInt64> = []
        for _ in 0..<50 {
            let socket = try await watching.listenerWhenFree(port: 7001)
            let earlier = times
            let table = await watching.table { table in
                table.listener(socket)?.listenedAt.map { !earlier.contains($0) } ?? false
            }
            times.insert(try #require(table?.listener(socket)?.listenedAt))
        }
        #expect(await watching.shows([]))
        #expect(times.count == 50)
    }

    @Test("Accepted connections cause no hints, which a filter on the old state alone would let through")
    func connections() async throws {
        let namespace = try await NetworkNamespace()
        let hints = { (filter: String) in
            try await namespace.run {
                let source = try TracepointSource(
                    tracefs: .standard, onlineCPUs: OnlineCPUs.list, filter: filter)
                let listener = try TestListener(.loopbackV4)
                var batch = HintBatch()
                source.drain(into: &batch)
                for _ in 0..<16 {
                    let client = try StreamSocket.connect(to: .tcp(.loopbackV4, port: listener.port.rawValue))
                    #expect(listener.isReadable(within: 5000))
                    listener.acceptAndClose()
                    #expect(client.rawValue >= 0)
                }
                batch = HintBatch()
                source.drain(into: &batch)
                return batch.hints.count { $0.port == listener.port }
            }
        }
        #expect(try await hints(ListenTracepoint.filter) == 0)
        #expect(try await hints("protocol == 6 && (newstate == 10 || oldstate == 10)") >= 16)
    }

    @Test("The agent's own listeners are not shown")
    func hidden() async throws {
        let namespace = try await NetworkNamespace()
        let port = try #require(PortNumber(2222))
        let watching = try await Watching(in: namespace) {
            $0.hidden = [ListeningSocket.Key(port: port, address: .anyV4)]
        }
        let own = try await watching.listener(.anyV4, port: 2222)
        let another = try await watching.listener(port: 7001)
        #expect(await watching.shows([another.key]))
        try await watching.settle()
        #expect(watching.watcher.current().listener(own) == nil)
    }

    @Test("A process that has become another program is shown under its new name")
    func renamed() async throws {
        let watching = try await Watching { $0.resyncInterval = .milliseconds(50) }
        let socket = try await watching.listener()
        #expect(await watching.table { $0.listener(socket)?.process != nil } != nil)
        // What execve(2) does to the name, without the rest of it.
        let before = try SmallFile.text(of: "/proc/self/comm")
        try "after-exec".write(toFile: "/proc/self/comm", atomically: false, encoding: .utf8)
        defer { try? before.write(toFile: "/proc/self/comm", atomically: false, encoding: .utf8) }
        #expect(await watching.table { $0.listener(socket)?.process?.name == "after-exec" } != nil)
    }

    @Test("A listener that was there before the watcher is named by the scan")
    func olderListener() async throws {
        let namespace = try await NetworkNamespace()
        let socket = try await namespace.run { try TestListener(.loopbackV4) }
        let watching = try await Watching(in: namespace)
        #expect(watching.watcher.current().listener(socket) != nil)
        let named = await watching.table(within: .seconds(30)) { $0.listener(socket)?.process != nil }
        #expect(named?.listener(socket)?.process?.pid == getpid())
        #expect(named?.listener(socket)?.listenedAt == nil)
    }

    @Test("A slow reader gets the newest table, not all that were between")
    func newestWins() async throws {
        let watching = try await Watching()
        var tables = watching.watcher.tables().makeAsyncIterator()
        #expect(await tables.next()?.listeners.isEmpty == true)
        var sockets: [TestListener] = []
        for _ in 0..<50 { sockets.append(try await watching.listener()) }
        let keys = Set(sockets.map(\.key))
        #expect(await watching.shows(keys))
        // One may have been on its way before the next replaced it.
        var next = await tables.next()
        if Set(next?.listeners.map(\.key) ?? []) != keys { next = await tables.next() }
        #expect(Set(next?.listeners.map(\.key) ?? []) == keys)
    }

    @Test("A reader of a range hears of that range alone, and ends with the watcher")
    func rangeReader() async throws {
        let watching = try await Watching()
        let range = try #require(PortRange(text: "7000-7009"))
        var tables = watching.watcher.tables(in: range).makeAsyncIterator()
        #expect(await tables.next()?.listeners.isEmpty == true)
        let outside = try await watching.listener(port: 7010)
        #expect(await watching.shows([outside.key]))
        let inside = try await watching.listener(port: 7009)
        #expect(await tables.next()?.listeners.map(\.key) == [inside.key])
        watching.watcher.stop()
        // A table that only named the process may still be there.
        while await tables.next() != nil {}
        #expect(outside.port.rawValue == 7010)
    }

    private static func now() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
