internal import Glibc

/// The bound on memory that may not be swapped out (RLIMIT_MEMLOCK, getrlimit(2)).
package enum MemoryLockLimit {
    /// Runs `body` without it, where this process may do that (CAP_SYS_RESOURCE), else with the highest it may set, and sets it
    /// again for the sake of child processes. Up to Linux 5.10 it counts BPF programs and maps, of all processes of the user
    /// together, and by default it is 64 KiB.
    package static func lifted<Result, Failure: Error>(
        _ body: () throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let kind = __rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue)
        var before = rlimit()
        guard getrlimit(kind, &before) == 0 else { return try body() }
        defer { setrlimit(kind, &before) }
        // RLIM_INFINITY
        var none = rlimit(rlim_cur: .max, rlim_max: .max)
        if setrlimit(kind, &none) != 0 {
            var highest = rlimit(rlim_cur: before.rlim_max, rlim_max: before.rlim_max)
            setrlimit(kind, &highest)
        }
        return try body()
    }
}
