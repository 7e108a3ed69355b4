internal import ProcNet

/// Tells whether a hint's caller lives in another network namespace than the watcher (namespaces(7)).
///
/// That is no proof that its socket is not ours: a socket stays in the namespace it was made in, whoever listens
/// on it. It only says that looking often is of little use.
struct OwnNamespace {
    private let root: String
    /// nil when it can't be read.
    private let own: UInt64?

    /// Of the calling thread. `processRoot` is the directory of processes.
    init(processRoot: String) {
        root = processRoot
        own = try? NetworkNamespaceNumber.of("thread-self", in: processRoot)
    }

    /// False also when nobody can tell, as when the caller has ended.
    func isForeign(_ hint: ListenHint) -> Bool {
        guard let own, !hint.isOurs else { return false }
        for task in [hint.thread, hint.pid] {
            if let task, let its = try? NetworkNamespaceNumber.of("\(task)", in: root) { return its != own }
        }
        return false
    }
}
