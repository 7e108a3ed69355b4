internal import Glibc
internal import Linux

/// Runs a body, which must not open anything, while this process can open no further descriptors.
///
/// For a test in a process of its own, on a thread of its own and shortly: libdispatch looks at the threads of its pool in
/// /proc while they have work, and ends the process when it can't open a file there (docs/kernel-facts.md).
package func withoutDescriptors<Result>(_ body: () throws -> Result) throws -> Result {
    let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    var before = rlimit()
    getrlimit(kind, &before)
    // Numbers are given from the lowest on: all below the next one are taken. Some of them shortly, by threads that begin.
    var next = Int32.max
    for _ in 0..<20 {
        let number = try SystemError.check("dup", dup(STDIN_FILENO))
        close(number)
        next = min(next, number)
        usleep(1000)
    }
    var none = before
    none.rlim_cur = rlim_t(next)
    setrlimit(kind, &none)
    defer { setrlimit(kind, &before) }
    return try body()
}

/// The CPU time that this process uses for each second that passes, while nothing happens for so long.
package func processorShare(during time: Duration) -> Double {
    func used() -> Double { Double(clock()) / Double(CLOCKS_PER_SEC) }
    let (start, before) = (ContinuousClock.now, used())
    while .now < start + time { usleep(5000) }
    return (used() - before) / ((ContinuousClock.now - start) / .seconds(1))
}
