internal import Glibc

/// The bound on this process's descriptors (RLIMIT_NOFILE, getrlimit(2)).
package enum DescriptorLimit {
    /// Descriptors this process may have open.
    package static var current: Int { Int(clamping: limit.rlim_cur) }

    /// How many more this process may open now. Reads a folder of /proc with an entry for each that is open (proc(5)); without that
    /// folder nobody knows, and they are taken to be all free.
    package static var free: Int {
        guard let folder = opendir("/proc/self/fd") else { return errno == ENOENT ? current : 0 }
        defer { closedir(folder) }
        // The folder itself, and the names of it and its parent.
        var open = -3
        while readdir(folder) != nil { open += 1 }
        return max(0, current - open)
    }

    /// Raises the soft limit to the hard one; a kernel that refuses keeps what it has.
    ///
    /// The soft limit is 1024 by default, for the sake of select(2), which nothing here uses; a relay takes two
    /// descriptors a connection. Child processes inherit it. To be called first thing: bounds are derived from it.
    package static func raise() {
        var raised = limit
        raised.rlim_cur = raised.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised)
    }

    private static var limit: rlimit {
        var limit = rlimit(rlim_cur: 1024, rlim_max: 1024)
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        return limit
    }
}
