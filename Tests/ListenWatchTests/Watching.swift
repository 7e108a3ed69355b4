import Glibc
import Linux
import LiveKernel
import Ports
import Synchronization
import TestSupport
import Testing

@testable import ListenWatch

/// A watcher in a network namespace of its own, with everything it said.
final class Watching: Sendable {
    let namespace: NetworkNamespace
    let watcher: ListenWatcher
    private let lines: Lines

    private final class Lines: Sendable {
        let text = Mutex<[String]>([])
    }

    /// The best source of hints that this machine has, in what is not about the tracepoint itself.
    static let best: PushLevel = {
        let options = ListenWatcherOptions()
        return (try? options.openHints(.bpf, options)) == nil ? .tracepoint : .bpf
    }()

    /// `options` may change everything; its `prepareThread` runs inside the namespace. Waits for the level of push that is set up
    /// in the background, unless `settles` is false.
    init(
        mode: ListenMode? = .netlink, in namespace: NetworkNamespace? = nil, settles: Bool = true,
        options change: (inout ListenWatcherOptions) -> Void = { _ in }
    ) async throws {
        let own = if let namespace { namespace } else { try await NetworkNamespace() }
        let lines = Lines()
        var options = ListenWatcherOptions()
        options.mode = mode
        options.procRoot = "/proc/thread-self"
        options.log = { line in lines.text.withLock { $0.append(line) } }
        change(&options)
        let prepare = options.prepareThread
        options.prepareThread = {
            try own.enter()
            try prepare()
        }
        self.namespace = own
        self.lines = lines
        watcher = ListenWatcher(options: options)
        try await watcher.start()
        if settles { try await settled() }
    }

    /// Waits until nothing is being set up in the background.
    func settled() async throws {
        try await eventually("the level of push") {
            watcher.source.degraded != nil || watcher.pushReason != ListenWatcher.settingUp
        }
    }

    deinit { watcher.stop() }

    var log: [String] { lines.text.withLock { $0 } }

    /// Opens a listener in the namespace.
    func listener(
        _ address: IPAddress = .loopbackV4, port: UInt16 = 0,
        _ change: @escaping @Sendable (inout TestListener.Options) -> Void = { _ in }
    ) async throws -> TestListener {
        try await namespace.run {
            var options = TestListener.Options()
            change(&options)
            return try TestListener(address, port: port, options: options)
        }
    }

    /// Opens a listener on a port that another test's child process may still hold for the moment between fork and
    /// exec.
    func listenerWhenFree(port: UInt16) async throws -> TestListener {
        let deadline = ContinuousClock.now + .seconds(10)
        while true {
            do {
                return try await listener(port: port)
            } catch let error as SystemError where error.code == EADDRINUSE && ContinuousClock.now < deadline
            {
                await Task.yield()
            }
        }
    }

    /// The first table for which `condition` holds; nil when none came in time.
    func table(
        within limit: Duration = .seconds(30), where condition: @escaping @Sendable (ListenTable) -> Bool
    ) async -> ListenTable? {
        await withTaskGroup(of: ListenTable?.self) { group in
            group.addTask { [watcher] in
                for await table in watcher.tables() where condition(table) { return table }
                return nil
            }
            group.addTask {
                try? await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    /// Waits until exactly these keys are listed.
    func shows(_ keys: Set<ListeningSocket.Key>, within limit: Duration = .seconds(30)) async -> Bool {
        await table(within: limit) { Set($0.listeners.map(\.key)) == keys } != nil
    }

    /// Waits until all that was opened and closed so far has been seen: a listener of a fixed port comes and goes,
    /// which takes as long as the last retry of anything before it.
    func settle() async throws {
        let marker = try await listenerWhenFree(port: 9)
        #expect(await table { $0.listeners.contains { $0.key == marker.key } } != nil)
        let deadline = ContinuousClock.now + .milliseconds(100)
        while ContinuousClock.now < deadline { await Task.yield() }
    }
}

extension ListenTable {
    func listener(_ socket: TestListener) -> ListeningSocket? { listeners.first { $0.key == socket.key } }
}
