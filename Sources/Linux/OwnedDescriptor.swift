internal import Glibc

/// A file descriptor with exactly one owner: it is closed once, when its owner goes away.
package struct OwnedDescriptor: ~Copyable, Sendable {
    /// The number, valid while this value lives. Never close it, never keep it longer.
    package let rawValue: Int32

    /// Takes ownership of an open descriptor.
    package init(owning rawValue: Int32) {
        self.rawValue = rawValue
    }

    deinit {
        // EINTR needs no retry: Linux has released the number by then (close(2), NOTES).
        _ = close(rawValue)
    }

    /// Gives up ownership: the caller closes the number from now on.
    package consuming func release() -> Int32 {
        let number = rawValue
        discard self
        return number
    }

    /// Writes all bytes to a file; one that blocks.
    package borrowing func write(_ bytes: some Sequence<UInt8>) throws(SystemError) {
        var rest = Array(bytes)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(rawValue, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            rest = rest.dropFirst(try SystemError.check("write", count))
        }
    }

    /// Takes the exclusive lock on the file (flock(2)), which goes with the last descriptor of this open file, at the latest when
    /// the process ends. False when somebody else has it; never waits.
    package borrowing func lock() throws(SystemError) -> Bool {
        if flock(rawValue, LOCK_EX | LOCK_NB) == 0 { return true }
        let error = SystemError.current("flock")
        guard error.code == EWOULDBLOCK else { throw error }
        return false
    }

    /// A second descriptor for the same open file (F_DUPFD_CLOEXEC).
    package borrowing func duplicate() throws(SystemError) -> OwnedDescriptor {
        OwnedDescriptor(owning: try SystemError.check("fcntl", fcntl(rawValue, F_DUPFD_CLOEXEC, 0)))
    }
}
