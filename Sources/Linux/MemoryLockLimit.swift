internal import Glibc

/// The bound on memory that may not be swapped out (RLIMIT_MEMLOCK, getrlimit(2)). Up to Linux 5.10 it counts BPF programs and
/// maps, of all processes of the user together, and by default it is 64 KiB.
package enum MemoryLockLimit {
    /// Makes a system call, and once more without the bound where the kernel has refused it (EPERM).
    ///
    /// The bound is the whole process's, and a child that is made meanwhile keeps what it finds. So it is raised only after such an
    /// answer, which newer kernels give too where no program may be loaded at all, and for no longer than the call takes.
    ///
    /// - Returns: what the call has returned, with its errno.
    package static func lifted(_ call: () -> Int32) -> Int32 {
        let result = call()
        guard result < 0, errno == EPERM else { return result }
        return raised(call)
    }

    /// Makes the call without the bound, where this process may do that (CAP_SYS_RESOURCE), else with the highest it may set.
    private static func raised(_ call: () -> Int32) -> Int32 {
        let kind = __rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue)
        var before = rlimit()
        guard getrlimit(kind, &before) == 0 else { return call() }
        // RLIM_INFINITY
        var none = rlimit(rlim_cur: .max, rlim_max: .max)
        if setrlimit(kind, &none) != 0 {
            var highest = rlimit(rlim_cur: before.rlim_max, rlim_max: before.rlim_max)
            setrlimit(kind, &highest)
        }
        let result = call()
        let code = errno
        setrlimit(kind, &before)
        errno = code
        return result
    }
}
