package import Ports

/// What a `ListenWatcher` may use, and where it reports.
package struct ListenWatcherOptions: Sendable {
    /// nil prefers netlink and falls back to procfs with a logged reason; an explicit mode never falls back.
    package var mode: ListenMode?
    /// The best source of hints to try; worse ones are used where it is missing.
    package var push: PushLevel = .bpf
    /// The directory that holds `net/tcp`.
    package var procRoot = "/proc"
    /// The directory of processes, for naming the one behind a listener.
    package var processRoot = "/proc"
    /// How often to look at everything although hints say that nothing happened.
    package var resyncInterval = Duration.seconds(15)
    /// How often to try for a mode or a source of hints that is better than the one in use.
    package var retryInterval = Duration.seconds(60)
    /// Listeners that are never shown: the agent's own.
    package var hidden: Set<ListeningSocket.Key> = []
    /// Look for the process of every listener before `start` returns, instead of slowly afterwards.
    package var namesProcessesFirst = false
    /// Where tracepoints are described.
    package var tracefs = TraceFS.standard
    /// Where the kernel describes its own types.
    package var kernelTypes = KernelTypesFile.standard
    /// The CPUs to listen on; asked again at every resync. nil asks the kernel.
    package var onlineCPUs: (@Sendable () -> [Int32])?
    /// How long this machine has been suspended since it booted; nil asks the kernel.
    package var timeSuspended: (@Sendable () -> Duration)?
    /// Opens what mode netlink asks.
    var openNetlink: @Sendable () throws(SnapshotFailed) -> any ListenSnapshotter = NetlinkSnapshotter.open
    /// Opens one source of hints; not asked for `poll`.
    var openHints: @Sendable (PushLevel, ListenWatcherOptions) throws(HintSourceLost) -> any HintSource =
        WatchSources.openHints
    /// Runs first on the watcher's thread; a failure ends `start`. For entering a network namespace.
    package var prepareThread: @Sendable () throws -> Void = {}
    /// Takes one line of text, without a line end, on the watcher's thread.
    package var log: @Sendable (String) -> Void = { _ in }
    /// Takes such a line about what is as it should be on this machine, and worth to be known.
    package var note: @Sendable (String) -> Void = { _ in }

    package init() {}
}

/// Why a watcher could not start.
package struct ListenWatchError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What happened and what to do about it.
    package let description: String
}
