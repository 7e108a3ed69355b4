internal import Glibc
internal import Linux

/// An exclusive lock between processes on a file, held while this value lives (flock(2)).
struct FileLock: ~Copyable, Sendable {
    private let descriptor: OwnedDescriptor

    /// Runs `body` while holding the lock on the file at `path`, which is created. `waiting` is called once if
    /// another process holds it.
    static func holding<Result>(
        _ path: String, waiting: @Sendable () -> Void, _ body: () async throws(MachineError) -> Result
    ) async throws(MachineError) -> Result {
        let lock = try await FileLock(path: path, waiting: waiting)
        do throws(MachineError) {
            let result = try await body()
            lock.release()
            return result
        } catch {
            lock.release()
            throw error
        }
    }

    /// Runs `body` while holding the lock on the file at `path`; false, without running it, when another process does.
    @discardableResult
    static func attempting(
        _ path: String, _ body: () throws(MachineError) -> Void
    ) throws(MachineError) -> Bool {
        let held: OwnedDescriptor?
        do {
            held = try attempt(path)
        } catch {
            throw MachineFiles.failure("lock", path, error)
        }
        guard let held else { return false }
        try body()
        _ = consume held
        return true
    }

    private consuming func release() {}

    private init(path: String, waiting: @Sendable () -> Void) async throws(MachineError) {
        var isFirst = true
        while true {
            do {
                if let descriptor = try Self.attempt(path) {
                    self.descriptor = descriptor
                    return
                }
            } catch  where error.code == ENOENT {
                // Whoever held the lock has removed the machine.
                try MachineFiles.makeDirectory(String(path[..<(path.lastIndex(of: "/") ?? path.endIndex)]))
                continue
            } catch {
                throw MachineFiles.failure("lock", path, error)
            }
            if isFirst { waiting() }
            isFirst = false
            // flock could also block, but then it would hold a thread of the pool and ignore cancellation.
            do {
                try await Task.sleep(for: MachineLimits.lockPoll)
            } catch {
                throw MachineError(.conflict, "interrupted while waiting for \(path)", hint: "Run it again.")
            }
        }
    }

    /// nil when another process holds the lock.
    private static func attempt(_ path: String) throws(SystemError) -> OwnedDescriptor? {
        let descriptor = OwnedDescriptor(
            owning: try SystemError.check("open", open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)))
        guard try descriptor.lock() else { return nil }
        // The holder before may have removed the machine, and with it the file that was just locked.
        var locked = stat()
        var current = stat()
        guard fstat(descriptor.rawValue, &locked) == 0, stat(path, &current) == 0,
            locked.st_ino == current.st_ino
        else { return nil }
        return descriptor
    }
}
