import Glibc
import Linux
import LiveKernel
import Testing

/// mlock(2) stands in for what this kernel does not count any more, programs and maps: both ask the same limit.
@Suite("The bound on locked memory", .serialized)
struct MemoryLockLimitTests {
    private static let kind = __rlimit_resource_t(__RLIMIT_MEMLOCK.rawValue)
    private static let low = rlim_t(64 << 10)

    private static var limit: rlimit {
        var now = rlimit()
        getrlimit(kind, &now)
        return now
    }

    /// Whether the calling thread may lock 1 MiB.
    private static var canLock: Bool {
        let size = 1 << 20
        guard let memory = mmap(nil, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
            memory != MAP_FAILED
        else { return false }
        defer { munmap(memory, size) }
        return KernelControl.lock(memory, size: size)
    }

    /// Locks 1 MiB as the kernel loads a program: EPERM above the bound (bpf_charge_memlock, kernel/bpf/syscall.c of 5.10).
    private static func lock() -> Int32 {
        if canLock { return 0 }
        errno = EPERM
        return -1
    }

    /// Runs `body` on a thread without these capabilities, with the low limit, as the hard one too if `isHard`.
    private static func withLow(
        isHard: Bool, without capabilities: [Capability], _ body: @escaping @Sendable () -> Void
    ) async throws {
        var before = Self.limit
        var low = rlimit(rlim_cur: Self.low, rlim_max: isHard ? Self.low : before.rlim_max)
        #expect(setrlimit(Self.kind, &low) == 0)
        defer { setrlimit(Self.kind, &before) }
        // The capabilities of its thread alone.
        try await DedicatedThread.run(name: "limited") { () throws(SystemError) in
            try KernelControl.drop(capabilities)
            body()
        }
    }

    @Test(
        "Without a privilege the soft limit is raised to the hard one for a refused call, and is as before after that"
    )
    func soft() async throws {
        guard Self.limit.rlim_max > 1 << 20 else { try Test.cancel("the hard limit is too low already") }
        let hard = Self.limit.rlim_max
        try await Self.withLow(isHard: false, without: [.ipcLock, .sysResource]) {
            #expect(!Self.canLock)
            #expect(MemoryLockLimit.lifted(Self.lock) == 0)
            #expect((Self.limit.rlim_cur, Self.limit.rlim_max) == (Self.low, hard))
            #expect(!Self.canLock)
        }
    }

    @Test("The hard limit counts for who may not raise it, and for nobody else")
    func hard() async {
        // In a process of its own: who may not raise the limit can't have it back.
        await #expect(processExitsWith: .success) {
            let mayRaise = Capability.effective?.contains(.sysResource) == true
            try await Self.withLow(isHard: true, without: [.ipcLock]) {
                #expect(!Self.canLock)
                #expect((MemoryLockLimit.lifted(Self.lock) == 0) == mayRaise)
                #expect((Self.limit.rlim_cur, Self.limit.rlim_max) == (Self.low, Self.low))
                #expect(!Self.canLock)
            }
            try await Self.withLow(isHard: true, without: [.ipcLock, .sysResource]) {
                #expect(MemoryLockLimit.lifted(Self.lock) < 0 && errno == EPERM)
                #expect((Self.limit.rlim_cur, Self.limit.rlim_max) == (Self.low, Self.low))
            }
        }
    }

    @Test("It stays for a call that the kernel does not refuse, since children inherit it")
    func notRefused() async throws {
        try await Self.withLow(isHard: false, without: []) {
            for answer in [0, EINVAL, EACCES] {
                var limits: [rlim_t] = []
                let result = MemoryLockLimit.lifted {
                    limits.append(Self.limit.rlim_cur)
                    errno = answer
                    return answer == 0 ? 0 : -1
                }
                #expect(limits == [Self.low])
                #expect(result == (answer == 0 ? 0 : -1))
            }
        }
    }
}
