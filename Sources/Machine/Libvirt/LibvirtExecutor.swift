internal import Dispatch

/// Runs an actor's work on a queue of its own, where blocking calls hold up nobody else.
///
/// libvirt keeps its last error per thread. A job runs on one thread from start to end, so an error that is
/// read before the next `await` is the right one.
final class LibvirtExecutor: SerialExecutor {
    private let queue = DispatchQueue(label: "libvirt")
    private let whenSilent: @Sendable () -> Void

    /// `whenSilent` is called from another thread when a job takes longer than `MachineLimits.libvirtSilence`.
    init(whenSilent: @escaping @Sendable () -> Void) { self.whenSilent = whenSilent }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { [whenSilent] in
            let notice = DispatchWorkItem(block: whenSilent)
            DispatchQueue.global().asyncAfter(
                deadline: .now() + MachineLimits.libvirtSilence, execute: notice)
            job.runSynchronously(on: self.asUnownedSerialExecutor())
            notice.cancel()
        }
    }
}
