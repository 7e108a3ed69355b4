internal import Glibc

/// The three descriptors that every program is started with, unless a shell closed some (`rum list >&-`).
package enum StandardDescriptors {
    /// Opens those that are missing, so that no socket or file gets their numbers. What uses one fails with EBADF, as it would
    /// have. To be called before anything else is opened.
    package static func reserve() {
        for (number, unusable) in [
            (STDIN_FILENO, O_WRONLY), (STDOUT_FILENO, O_RDONLY), (STDERR_FILENO, O_RDONLY),
        ] where fcntl(number, F_GETFD) < 0 {
            // The lowest number that is free is this one (open(2)).
            _ = open("/dev/null", unusable)
        }
    }
}
