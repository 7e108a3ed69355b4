/// Another process that forwards a machine's ports, as rum.toml was when it began.
package enum PortForwarder: Hashable, Sendable {
    case background
    /// A `rum up` in a terminal.
    case terminal
    /// A background process that is about to be replaced. Whoever does that calls `VirtualMachine.noteForwards` then.
    case leaving

    /// When it would read rum.toml again; nil where the next one does so in a moment.
    var nextTime: String? {
        switch self {
        case .leaving: nil
        case .background: "when its ports are forwarded anew (`rum up -d`)"
        case .terminal: "when the other `rum up` is ended and started again"
        }
    }
}
