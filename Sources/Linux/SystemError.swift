internal import Glibc

/// A system call that failed.
package struct SystemError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The errno value.
    package let code: Int32
    /// What was tried: the call's name, or a few words.
    package let operation: String

    package init(code: Int32, operation: String) {
        self.code = code
        self.operation = operation
    }

    /// Makes an error from the calling thread's errno; call it before anything else can change errno.
    package static func current(_ operation: String) -> SystemError {
        let code = errno
        return SystemError(code: code, operation: operation)
    }

    /// Passes a result of zero or more through and turns -1 into the error of errno.
    ///
    /// `result` is evaluated just before the call, so errno is still its own.
    package static func check<Result: SignedInteger>(
        _ operation: String, _ result: Result
    ) throws(SystemError) -> Result {
        guard result < 0 else { return result }
        throw current(operation)
    }

    /// The C library's text for `code`.
    package var reason: String { Self.text(for: code) }

    package var description: String { "\(operation): \(reason)" }

    /// The C library's text for an errno; from any thread.
    package static func text(for code: Int32) -> String {
        var buffer = [CChar](repeating: 0, count: 128)
        guard strerror_r(code, &buffer, buffer.count) == 0 else { return "errno \(code)" }
        return buffer.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}

extension SystemError {
    /// Somebody else has the address (EADDRINUSE).
    package var isAddressInUse: Bool { code == EADDRINUSE }

    /// This process may not (EACCES, EPERM).
    package var isPermission: Bool { code == EACCES || code == EPERM }

    /// This machine has no such address, or no such family at all: IPv6 is off.
    package var isMissingFamily: Bool { code == EADDRNOTAVAIL || code == EAFNOSUPPORT }

    /// There is no such file (ENOENT).
    package var isMissingFile: Bool { code == ENOENT }

    /// No descriptors or memory are left for now (EMFILE, ENFILE, ENOBUFS, ENOMEM): it may work again shortly.
    package var isExhaustion: Bool {
        switch code {
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: true
        default: false
        }
    }
}
