import Foundation
import Glibc
import Linux
import Machine

/// Keeps the logs in a machine's folder small.
enum LogFiles {
    /// Bytes of the background process's log, of which the one before is kept too.
    private static let ownLimit: Int64 = 1 << 20
    /// Bytes of a console's log, and how many of its last ones stay when it was longer.
    private static let consoleLimit: Int64 = 16 << 20
    private static let consoleRest: Int64 = 4 << 20
    private static let interval = Duration.seconds(10)

    /// Looks at them until the task is cancelled; on threads of its own, of which one that waits for a file is left behind.
    ///
    /// - Parameter withOwn: whether standard output and error are the background process's log.
    static func keepSmall(_ files: MachineFiles, withOwn: Bool) async {
        while !Task.isCancelled {
            let over = AsyncStream<Void>.makeStream()
            do {
                try DedicatedThread.start(name: "logs") {
                    look(files, withOwn: withOwn)
                    over.continuation.finish()
                }
            } catch {
                // The next turn may have one.
                over.continuation.finish()
            }
            for await _ in over.stream {}
            try? await Task.sleep(for: interval)
        }
    }

    private static func look(_ files: MachineFiles, withOwn: Bool) {
        if withOwn {
            rotate(files.backgroundLog, above: ownLimit, descriptors: [STDOUT_FILENO, STDERR_FILENO])
        }
        cut(files.consoleLog, above: consoleLimit, to: consoleRest)
    }

    /// The log before the newest.
    static func earlier(_ path: String) -> String { path + ".1" }

    /// Opens a log to append to; it is its owner's alone.
    static func open(_ path: String) throws(SystemError) -> OwnedDescriptor {
        let flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW
        return OwnedDescriptor(owning: try SystemError.check("open", Glibc.open(path, flags, 0o600)))
    }

    /// Renames a log that is too long, and lets `descriptors` write to a new one.
    static func rotate(_ path: String, above limit: Int64, descriptors: [Int32] = []) {
        guard size(path) > limit, rename(path, earlier(path)) == 0, let log = try? open(path) else { return }
        // Atomic: whoever writes meanwhile does so to one of the two files.
        for number in descriptors { dup2(log.rawValue, number) }
    }

    /// Keeps the last bytes of a file that another process appends to. It goes on behind them, since every append
    /// looks for the end (open(2), O_APPEND); what it writes in this moment is lost.
    static func cut(_ path: String, above limit: Int64, to rest: Int64) {
        guard size(path) > limit, case let number = Glibc.open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW),
            number >= 0
        else { return }
        let file = OwnedDescriptor(owning: number)
        var bytes = [UInt8](repeating: 0, count: Int(rest))
        let count = pread(file.rawValue, &bytes, bytes.count, Int(size(path) - rest))
        guard count > 0, ftruncate(file.rawValue, 0) == 0 else { return }
        _ = pwrite(file.rawValue, bytes, count, 0)
    }

    private static func size(_ path: String) -> Int64 {
        var info = stat()
        return stat(path, &info) == 0 ? Int64(info.st_size) : 0
    }
}
