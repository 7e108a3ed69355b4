internal import Linux
package import Ports
internal import Synchronization

/// Knows which TCP sockets listen on this machine, and tells when that changes.
///
/// One thread of its own asks the kernel; every method here only reads what that thread has published, so none
/// blocks. The namespace is that of the process, unless `ListenWatcherOptions.prepareThread` enters another.
package final class ListenWatcher: Sendable {
    private enum Phase {
        case idle, started, stopped
    }

    private let options: ListenWatcherOptions
    private let board: TableBoard
    private let phase = Mutex(Phase.idle)
    private let stopper = LoopStopper()

    package init(options: ListenWatcherOptions = ListenWatcherOptions()) {
        self.options = options
        let source = ListenSource(
            mode: options.mode ?? .netlink, push: .poll, degraded: "the watcher has not started")
        board = TableBoard(ListenTable(revision: 0, source: source, listeners: []))
    }

    deinit { stop() }

    /// Takes the first snapshot and starts to watch; when it returns, `current(in:)` is true.
    ///
    /// - Throws: when the chosen mode does not work here, or when called twice.
    package func start() async throws(ListenWatchError) {
        let isFirst = phase.withLock { phase in
            defer { if phase == .idle { phase = .started } }
            return phase == .idle
        }
        guard isFirst else { throw ListenWatchError(description: "the watcher was started before") }
        let (options, board, stopper) = (options, board, stopper)
        let failure: ListenWatchError? = await withCheckedContinuation { started in
            do {
                try DedicatedThread.start(name: "listen-watch") {
                    WatchLoop.run(options, board, stopper) { started.resume(returning: $0) }
                }
            } catch {
                started.resume(returning: ListenWatchError(description: "\(error)"))
            }
        }
        if let failure {
            board.close()
            throw failure
        }
    }

    /// Ends the thread and every sequence of tables. The last table stays readable.
    package func stop() {
        phase.withLock { $0 = .stopped }
        board.close()
        stopper.stop()
    }

    /// The newest table of a port range.
    package func current(in range: PortRange = .all) -> ListenTable {
        board.table.restricted(to: range)
    }

    /// Who listens on a port, as far as is known now; costs next to nothing, whatever the table's size.
    package func listeners(on port: PortNumber) -> [ListeningSocket] {
        Array(board.table.listeners(on: port))
    }

    /// The present table of a port range at once, then each change of it; see `ListenTables`.
    package func tables(in range: PortRange = .all) -> ListenTables {
        ListenTables(board: board, range: range)
    }

    /// Has `body` called with each later table, on the watcher's thread and before anybody else has it. It must not wait, and
    /// what it costs counts as the watcher's own.
    package func onPublish(_ body: @escaping @Sendable (ListenTable) -> Void) { board.observe(body) }

    /// Mode, push level and health by now.
    package var source: ListenSource { board.means.source }

    /// What `pushReason` says while programs are being set up.
    package static let settingUp = "bpf events are being set up"

    /// Why `source.push` is not the best level there is although nothing is wrong: a better one is being set up, or this kernel
    /// does not have it for this process. nil when it is the best, or where `source.degraded` says why it isn't.
    package var pushReason: String? {
        let means = board.means
        return means.source.degraded == nil ? means.pushReason : nil
    }
}
