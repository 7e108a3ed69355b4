internal import CLinux
internal import Glibc

/// Starts threads for work that blocks, which the cooperative pool must not do.
package enum DedicatedThread {
    /// Runs `body` on a new detached thread called `name` (at most 15 bytes are kept).
    ///
    /// The thread takes no signals, so that a SIGPIPE of splice(2), which knows no MSG_NOSIGNAL, stays
    /// pending there and splice returns EPIPE.
    package static func start(name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
        let box = Unmanaged.passRetained(Body(name: name, run: body))
        var thread = pthread_t()
        let code = pthread_create(&thread, nil, { Self.enter($0) }, box.toOpaque())
        guard code == 0 else {
            box.release()
            throw SystemError(code: code, operation: "pthread_create")
        }
        _ = pthread_detach(thread)
    }

    /// Runs `body`, which may block, on a new thread, and returns its result.
    package static func run<Success: Sendable>(
        name: String, _ body: @escaping @Sendable () throws(SystemError) -> Success
    ) async throws(SystemError) -> Success {
        let result: Result<Success, SystemError> = await withCheckedContinuation { continuation in
            do throws(SystemError) {
                try start(name: name) {
                    continuation.resume(returning: Result { () throws(SystemError) in try body() })
                }
            } catch {
                continuation.resume(returning: .failure(error))
            }
        }
        return try result.get()
    }

    /// Has `body` close these descriptors without a wait: where close(2) waits for the kernel, a thread does that which holds
    /// duplicates of them.
    package static func closing(_ descriptors: [Int32], _ body: () -> Void) {
        let files = descriptors.map { fcntl($0, F_DUPFD_CLOEXEC, 0) }.filter { $0 >= 0 }
        body()
        if files.isEmpty { return }
        let closeAll: @Sendable () -> Void = { for file in files { close(file) } }
        do { try start(name: "close", closeAll) } catch { closeAll() }
    }

    private static func enter(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        guard let argument else { return nil }
        let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
        var every = sigset_t()
        sigfillset(&every)
        pthread_sigmask(SIG_BLOCK, &every, nil)
        _ = clinux_name_thread(body.name)
        body.run()
        return nil
    }

    private final class Body: Sendable {
        let name: String
        let run: @Sendable () -> Void

        init(name: String, run: @escaping @Sendable () -> Void) {
            self.name = name
            self.run = run
        }
    }
}
