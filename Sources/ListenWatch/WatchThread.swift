internal import CLinux
internal import Glibc

/// Scheduling of the watcher's thread and of those that it starts.
enum WatchThread {
    /// Asks to run before ordinary processes and to be woken on time. Without the privilege it stays ordinary.
    static func prefer() {
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, -10)
        _ = clinux_set_timer_slack(1)
    }

    /// Gives the calling thread another priority than the watcher's, which it was started with and which is for hints that have
    /// come: 0 is an ordinary process's, 10 stands back behind those (setpriority(2)).
    static func standBack(niceness: Int32 = 0) {
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, niceness)
    }
}
