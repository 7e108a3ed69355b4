package import NIOCore

/// Runs tasks on an event loop's own thread.
///
/// What a connection brings is then read, decoded and acted upon by one thread. Between two threads, each message would wait
/// for a wake-up on its way in and for another one on its way out, which take longer than all the rest of its way.
/// Such tasks must be short: the loop's connections stand still meanwhile.
package final class LoopExecutor: TaskExecutor {
    package let loop: any EventLoop

    package init(_ loop: any EventLoop) { self.loop = loop }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
