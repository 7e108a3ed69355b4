import Glibc
import Linux
import ListenWatch

/// The calls that matter here, by their numbers on x86-64, the only machine that an agent is built for.
enum SystemCall: Int, CaseIterable {
    case read = 0
    case write = 1
    case close = 3
    case writev = 20
    case socket = 41
    case sendto = 44
    case recvfrom = 45
    case recvmsg = 47
    case bind = 49
    case listen = 50
    case futex = 202
    case epollWait = 232
}

/// The system calls of some threads, as the kernel's tracepoints tell them: with CLOCK_MONOTONIC, on all CPUs.
final class SystemCallTrace {
    /// The beginning or the end of one call.
    struct Step {
        var time: Int64
        var pid: Int32
        var thread: Int32
        /// nil for those that do not matter.
        var call: SystemCall?
        /// nil at the beginning.
        var result: Int?
        /// Of the beginning.
        var arguments: (Int, Int, Int) = (0, 0, 0)
    }

    private let rings: [(ring: PerfRing, isExit: Bool)]
    /// Whether some steps are missing since the last `take`.
    private(set) var isIncomplete = false

    /// - Parameters:
    ///   - calls: which; nil for all.
    ///   - threads: whose; nil for everybody's.
    init(calls: [SystemCall]?, threads: [Int32]?) throws {
        func any(_ field: String, _ values: [some BinaryInteger]?) -> String? {
            values.map { "(" + $0.map { "\(field) == \($0)" }.joined(separator: " || ") + ")" }
        }
        let parts = [any("id", calls?.map(\.rawValue)), any("common_pid", threads)].compactMap { $0 }
        let filter = parts.isEmpty ? "id >= 0" : parts.joined(separator: " && ")
        let begin = try TraceFS.standard.event("raw_syscalls/sys_enter").id
        let end = try TraceFS.standard.event("raw_syscalls/sys_exit").id
        rings = try ProcessFiles.onlineCPUs.flatMap { cpu in
            [
                (try PerfRing(.tracepoint(begin, filter: filter), cpu: cpu, wakes: false), false),
                (try PerfRing(.tracepoint(end, filter: filter), cpu: cpu, wakes: false), true),
            ]
        }
    }

    /// The steps since the last call, oldest first.
    func take() -> [Step] {
        var steps: [Step] = []
        isIncomplete = false
        for (ring, isExit) in rings {
            _ = ring.drain { record in
                guard case .sample(let sample) = record else {
                    isIncomplete = true
                    return
                }
                // After the common 8 bytes: the number, then the six arguments or the result (trace/events/syscalls.h).
                func word(_ index: Int) -> Int {
                    sample.fields.loadUnaligned(fromByteOffset: 8 + 8 * index, as: Int.self)
                }
                var step = Step(
                    time: Int64(sample.time.nanoseconds), pid: sample.pid, thread: sample.thread,
                    call: SystemCall(rawValue: word(0)))
                if isExit { step.result = word(1) } else { step.arguments = (word(1), word(2), word(3)) }
                steps.append(step)
            }
        }
        return steps.sorted { $0.time < $1.time }
    }
}
