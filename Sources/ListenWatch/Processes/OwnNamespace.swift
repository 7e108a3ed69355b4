internal import Glibc

/// Tells whether a hint's caller lives in another network namespace than the watcher (namespaces(7)).
///
/// That is no proof that its socket is not ours: a socket stays in the namespace it was made in, whoever listens
/// on it. It only says that looking often is of little use.
struct OwnNamespace {
    private let root: String
    /// Such as `net:[4026531840]`; nil when it can't be read.
    private let own: String?

    /// Of the calling thread. `processRoot` is the directory of processes.
    init(processRoot: String) {
        root = processRoot
        own = Self.namespace(of: "thread-self", in: processRoot)
    }

    /// False also when nobody can tell, as when the caller has ended.
    func isForeign(_ hint: ListenHint) -> Bool {
        guard let own, !hint.isOurs else { return false }
        for task in [hint.thread, hint.pid] {
            if let task, let its = Self.namespace(of: "\(task)", in: root) { return its != own }
        }
        return false
    }

    private static func namespace(of task: String, in root: String) -> String? {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
            guard let start = buffer.baseAddress else { return nil }
            let length = readlink("\(root)/\(task)/ns/net", start, buffer.count)
            guard length > 0 else { return nil }
            return String(decoding: UnsafeRawBufferPointer(buffer)[..<length], as: UTF8.self)
        }
    }
}
