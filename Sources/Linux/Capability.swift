/// What a process may do beyond what its user may, by the kernel's numbers (capabilities(7), include/uapi/linux/capability.h).
package enum Capability: Int32, Sendable, CaseIterable {
    case dacReadSearch = 2
    case ipcLock = 14
    case sysPtrace = 19
    case sysAdmin = 21
    case sysResource = 24
    case perfmon = 38
    case bpf = 39

    /// Those in effect for the calling thread; nil when /proc does not tell.
    package static var effective: Set<Capability>? {
        (try? SmallFile.text(of: "/proc/thread-self/status")).flatMap(parse)
    }

    /// Reads the line `CapEff:` of a status file (proc_pid_status(5)).
    static func parse(_ status: String) -> Set<Capability>? {
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
            let mask = UInt64(line.drop { $0 != "\t" }.dropFirst(), radix: 16)
        else { return nil }
        return Set(allCases.filter { mask & 1 << $0.rawValue != 0 })
    }
}
