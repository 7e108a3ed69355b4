/// Another process that forwards a machine's ports, as rum.toml was when it began.
package enum PortForwarder: Hashable, Sendable {
    /// It goes by the present rum.toml in a moment, or is replaced. Whoever sees to that calls `VirtualMachine.noteForwards` then.
    case changing
    /// A background process of another version of rum, which can only be replaced.
    case background
    /// A `rum up` of another version in a terminal.
    case terminal

    /// When ports would be forwarded by the present rum.toml; nil where that is in a moment.
    var nextTime: String? {
        switch self {
        case .changing: nil
        case .background: "when its ports are forwarded anew (`rum up -d`)"
        case .terminal: "when the other `rum up` is ended and started again"
        }
    }
}
