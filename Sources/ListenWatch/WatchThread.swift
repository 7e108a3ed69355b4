internal import CLinux
internal import Glibc

/// Scheduling of the watcher's thread.
enum WatchThread {
    /// Asks to run before ordinary processes and to be woken on time. Without the privilege it stays ordinary.
    static func prefer() {
        setpriority(Int32(PRIO_PROCESS.rawValue), 0, -10)
        _ = clinux_set_timer_slack(1)
    }
}
