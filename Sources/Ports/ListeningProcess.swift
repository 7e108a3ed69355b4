/// A process in the guest.
package struct ListeningProcess: Hashable, Sendable {
    package var pid: Int32
    /// The kernel's short name (comm), at most 15 bytes.
    package var name: String
    /// nil until the guest has told; an older agent never does.
    package var details: ProcessDetails?

    package init(pid: Int32, name: String, details: ProcessDetails? = nil) {
        self.pid = pid
        self.name = name
        self.details = details
    }
}

/// What else there is to know of a process than its name.
package struct ProcessDetails: Hashable, Sendable {
    /// How much of a command line there is at the most, in bytes.
    package static let longestCommand = 256

    /// The first bytes of its command line, with spaces between the arguments; empty where it has none.
    package var command: String
    /// The id or name of the container that it runs in; nil when it is in none that is recognised.
    package var container: String?

    package init(command: String, container: String? = nil) {
        self.command = command
        self.container = container
    }
}
