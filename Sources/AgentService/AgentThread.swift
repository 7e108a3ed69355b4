internal import AgentAPI
internal import Glibc
internal import NIOCore
internal import NIOPosix

/// The one thread on which the agent's tasks run, but for commands of `Exec`.
///
/// The runtime's pool of threads is left alone, since libdispatch, which makes it, wakes once a second from its first use on
/// to watch it: as much processor time as all else that an idle agent does.
package enum AgentThread {
    /// Runs `body`, which ends the process.
    package static func run(_ body: @escaping @Sendable () async -> Never) -> Never {
        NIOSingletons.groupLoopCountSuggestion = 1
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        // Else it has this thread's, and libdispatch gives root's threads for such work a nice value of -2, which commands inherit.
        Task(executorPreference: LoopExecutor(loop), priority: .medium) { await body() }
        while true { pause() }
    }
}
