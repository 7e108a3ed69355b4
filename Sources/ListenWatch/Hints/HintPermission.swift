internal import Linux

/// What a process lacks whom the kernel refuses a source of hints, and what to do about it.
enum HintPermission {
    /// For a refused perf_event_open(2). `held` are the caller's capabilities, `paranoid` is `kernel.perf_event_paranoid`, each nil
    /// when not known. Above 2, which no kernel of kernel.org knows, Debian's ask for CAP_SYS_ADMIN.
    static func perfEvents(held: Set<Capability>?, paranoid: Int?) -> String {
        guard let held, !held.contains(.sysAdmin) else {
            return "this kernel or a security module forbids it"
        }
        if let paranoid, paranoid > 2 {
            let lesser = held.contains(.perfmon) ? "" : " and give the agent CAP_PERFMON"
            return
                "while kernel.perf_event_paranoid is \(paranoid) the agent needs CAP_SYS_ADMIN; or set it to 2\(lesser)"
        }
        if held.contains(.perfmon) { return "this kernel or a security module forbids it" }
        return "give the agent CAP_PERFMON, before Linux 5.8 CAP_SYS_ADMIN"
    }

    /// For a program that may not be loaded.
    static func programs(held: Set<Capability>?) -> String {
        guard let held, !held.contains(.sysAdmin), !held.isSuperset(of: [.bpf, .perfmon]) else {
            return "this kernel forbids it"
        }
        return "give the agent CAP_BPF and CAP_PERFMON, before Linux 5.8 CAP_SYS_ADMIN"
    }

    /// For a tracefs that nobody has mounted, or only where the caller may not read, and that it may not mount itself.
    static func tracefs(held: Set<Capability>?) -> String {
        guard let held, !held.contains(.sysAdmin) else {
            return "this kernel or a security module forbids it"
        }
        return "mount it at /sys/kernel/tracing, as systemd does, or give the agent CAP_SYS_ADMIN"
    }

    /// What `kernel.perf_event_paranoid` is now.
    static var paranoid: Int? {
        (try? SmallFile.firstLine(of: "/proc/sys/kernel/perf_event_paranoid")).flatMap { Int($0) }
    }
}
