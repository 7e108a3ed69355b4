internal import CLiveKernel
internal import Glibc
package import Linux

/// What a test takes away from its thread.
package enum KernelControl {
    /// CAP_PERFMON and CAP_SYS_ADMIN, either of which opens tracepoints (capabilities(7)).
    package static func dropPerfCapabilities() throws(SystemError) {
        try drop([.perfmon, .sysAdmin])
    }

    /// Takes capabilities from the calling thread.
    package static func drop(_ capabilities: [Capability]) throws(SystemError) {
        for capability in capabilities {
            _ = try SystemError.check("capset", clivekernel_drop_capability(capability.rawValue))
        }
    }

    /// Leaves programs that the calling thread starts these capabilities at most.
    package static func boundCapabilities(to capabilities: [Capability]) throws(SystemError) {
        let mask = capabilities.reduce(UInt64(0)) { $0 | 1 << UInt64($1.rawValue) }
        _ = try SystemError.check("prctl", clivekernel_bound_capabilities(mask))
    }

    /// Makes socket(AF_NETLINK) fail with EACCES on the calling thread.
    package static func forbidNetlink() throws(SystemError) {
        _ = try SystemError.check("seccomp", clivekernel_forbid_sockets(AF_NETLINK))
    }

    /// A tracefs mounted nowhere; readable as `/proc/self/fd/N`.
    package static func detachedTracefs() throws(SystemError) -> OwnedDescriptor { try mount("tracefs") }

    /// Gives the calling thread, and programs that it starts, a tracefs where it is looked for: a machine may have none.
    package static func mountTracefs() throws(SystemError) {
        _ = try SystemError.check("mount", clivekernel_own_tracefs())
    }

    /// A sysfs mounted nowhere, with the network devices of the calling thread's namespace alone.
    package static func detachedSysfs() throws(SystemError) -> OwnedDescriptor { try mount("sysfs") }

    private static func mount(_ type: String) throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try SystemError.check("fsmount", clivekernel_mount(type)))
    }

    /// Forks a child that holds a copy of the descriptor until `kill`ed.
    package static func forkHolding(_ descriptor: Int32) throws(SystemError) -> Int32 {
        try SystemError.check("fork", clivekernel_fork_holding(descriptor))
    }

    /// Ends a child made by `forkHolding`.
    package static func end(child pid: Int32) {
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    /// Whether the calling thread may lock this memory (mlock(2)).
    package static func lock(_ memory: UnsafeMutableRawPointer, size: Int) -> Bool {
        clivekernel_lock_memory(memory, size) == 0
    }

    /// The number of a network interface in the calling thread's namespace.
    package static func interfaceIndex(_ name: String) throws(SystemError) -> UInt32 {
        let index = if_nametoindex(name)
        guard index != 0 else { throw SystemError.current("if_nametoindex") }
        return index
    }

    /// Binds the calling thread to one CPU.
    package static func pin(cpu: Int32) throws(SystemError) {
        _ = try SystemError.check("sched_setaffinity", clivekernel_pin(cpu))
    }

    /// The calling thread's number (gettid(2)).
    package static var threadID: Int32 { clivekernel_thread_id() }

    /// CPU time used by the calling thread, or by a whole process, in nanoseconds.
    package static func cpuTime(pid: Int32 = 0) -> Int64 { Int64(clivekernel_cpu_time(pid)) }
}
