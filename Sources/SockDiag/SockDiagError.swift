package import Linux

/// A snapshot that the kernel did not give, or not whole. It is never an empty table.
package enum SockDiagError: Error, Hashable, Sendable {
    /// There is no sock_diag for TCP here, or this process may not use it.
    case unavailable(SystemError)
    /// The kernel ended the answer with an error, at once or in its DONE message; or descriptors or memory ran short.
    case failed(SystemError)
    /// ENOBUFS: the kernel dropped part of the answer.
    case overrun
    /// A message is shorter than its own length says.
    case cutMessage
    /// The kernel left the question, or the rest of its answer, out.
    case unanswered
}

extension SockDiagError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .unavailable(let error): "sock_diag is unavailable: \(error)"
        case .failed(let error): "sock_diag failed: \(error)"
        case .overrun: "sock_diag answer overran the socket buffer"
        case .cutMessage: "sock_diag answer was cut"
        case .unanswered: "sock_diag gave no answer"
        }
    }
}
