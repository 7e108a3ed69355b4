/// The stages of one sample, read from the system calls that stand between them.
///
/// Each stage ends with a call of a thread of the agent or of `rum forward`. The first one that fits, after the end of the
/// stage before, ends it. A thread that was awake already makes no call at that point; then the sample has no stages.
struct BudgetStages {
    struct Stage: Sendable {
        var place: String
        var name: String
        /// Whether the agent's call ends it, or the host's.
        var isAgent: Bool
        /// Whether this step ends it; the second argument is the thread that ended the stage before.
        var ends: @Sendable (SystemCallTrace.Step, Int32) -> Bool
    }

    let agent: Int32
    let host: Int32

    static let stages: [Stage] = [
        Stage(place: "guest, kernel", name: "listen(2) to the watcher's wake-up", isAgent: true) { step, _ in
            step.call == .epollWait && step.isEnd
        },
        Stage(place: "watcher", name: "its hints read", isAgent: true) { step, thread in
            step.thread == thread && step.call == .sendto && !step.isEnd
        },
        Stage(place: "watcher", name: "look-up: sock_diag asked and answered", isAgent: true) {
            step, thread in
            step.thread == thread && step.call == .recvmsg && step.isEnd && step.worked
        },
        Stage(place: "watcher", name: "the process behind it found", isAgent: true) { step, thread in
            step.thread == thread && step.call == .close && step.isEnd
        },
        Stage(place: "watcher", name: "table built and encoded", isAgent: true) { step, thread in
            step.thread == thread && step.call == .sendto && !step.isEnd
        },
        Stage(place: "unix socket", name: "to the host's wake-up", isAgent: false) { step, _ in
            step.call == .epollWait && step.isEnd
        },
        Stage(place: "host's thread of feeds", name: "read", isAgent: false) { step, thread in
            step.thread == thread && step.call == .recvfrom && step.isEnd && step.worked
        },
        Stage(place: "host's thread of feeds", name: "decoded, reconciled", isAgent: false) {
            step, thread in
            step.thread == thread && step.call == .socket && !step.isEnd
        },
        Stage(place: "host's thread of feeds", name: "socket made, bound", isAgent: false) { step, thread in
            step.thread == thread && step.call == .bind && step.isEnd
        },
        Stage(place: "host's thread of feeds", name: "listen(2): the port is open", isAgent: false) {
            step, thread in
            step.thread == thread && step.call == .listen && step.isEnd
        },
        Stage(place: "host's thread of feeds", name: "given to the relay; line to its thread", isAgent: false)
        {
            step, thread in
            step.thread != thread && step.call == .write && !step.isEnd && step.arguments.0 == 1
        },
    ]

    /// The nanoseconds of each stage; nil when one is not to be seen.
    func times(of steps: [SystemCallTrace.Step], since start: Int64) -> [Int64]? {
        var result: [Int64] = []
        var last = start
        var thread: Int32 = 0
        var rest = steps.drop { $0.time < start }
        for stage in Self.stages {
            let pid = stage.isAgent ? agent : host
            guard let index = rest.firstIndex(where: { $0.pid == pid && stage.ends($0, thread) }) else {
                return nil
            }
            let step = rest[index]
            result.append(step.time - last)
            (last, thread, rest) = (step.time, step.thread, rest[rest.index(after: index)...])
        }
        return result
    }
}

extension SystemCallTrace.Step {
    fileprivate var isEnd: Bool { result != nil }
    fileprivate var worked: Bool { (result ?? -1) > 0 }
}
