internal import CLinux
internal import Glibc
internal import Linux
internal import Synchronization

/// The signals that ask a program to end.
package enum TerminationSignals {
    private static let numbers = [SIGINT, SIGTERM, SIGHUP]
    /// The pipe that the handler writes to.
    private static let writeEnd = Atomic<Int32>(-1)

    /// Takes SIGINT, SIGTERM and SIGHUP away from their default action and delivers their numbers instead.
    ///
    /// Call it once, before anything that must be cleaned up exists. SIGPIPE is ignored from then on: a peer
    /// that went away is an error of the write, not the end of the program. Without a descriptor or a thread to spare the
    /// signals keep their default action. A SIGHUP that is ignored stays so (`nohup rum forward`).
    package static func stream() -> AsyncStream<Int32> {
        _ = signal(SIGPIPE, SIG_IGN)
        return AsyncStream { continuation in
            var ends: [Int32] = [-1, -1]
            guard clinux_pipe(&ends) == 0 else { return }
            let readEnd = ends[0]
            do {
                // Not libdispatch's signal source: its threads wake each second from then on.
                try DedicatedThread.start(name: "signals") { deliver(from: readEnd, to: continuation) }
            } catch {
                return
            }
            writeEnd.store(ends[1], ordering: .releasing)
            for number in numbers where !isUnwanted(number) { take(number) }
        }
    }

    /// Gives the signals their default action back: the next one ends a program that takes long to clean up.
    package static func restoreDefaults() {
        for number in numbers where !isUnwanted(number) { _ = signal(number, SIG_DFL) }
    }

    /// Whether whoever started this program wants it to outlive the signal. Not so of SIGINT: a script's shell has all that
    /// it starts with & ignore that (POSIX, shell command language, 2.11), and sends it all the same to end them.
    private static func isUnwanted(_ number: Int32) -> Bool {
        var action = sigaction()
        guard number == SIGHUP, sigaction(number, nil, &action) == 0 else { return false }
        return unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self)
            == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    private static func take(_ number: Int32) {
        var action = sigaction()
        action.sa_flags = SA_RESTART
        // One write(2) and no more is allowed in a handler (signal-safety(7)).
        action.__sigaction_handler.sa_handler = { number in
            let before = errno
            var byte = UInt8(truncatingIfNeeded: number)
            _ = write(TerminationSignals.writeEnd.load(ordering: .acquiring), &byte, 1)
            errno = before
        }
        sigaction(number, &action, nil)
    }

    private static func deliver(from descriptor: Int32, to continuation: AsyncStream<Int32>.Continuation) {
        // The parent may have started this program with the signals blocked in every thread.
        var ours = sigset_t()
        sigemptyset(&ours)
        for number in numbers { sigaddset(&ours, number) }
        pthread_sigmask(SIG_UNBLOCK, &ours, nil)
        while true {
            var poller = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            _ = poll(&poller, 1, -1)
            var byte: UInt8 = 0
            if read(descriptor, &byte, 1) == 1 { continuation.yield(Int32(byte)) }
        }
    }
}
