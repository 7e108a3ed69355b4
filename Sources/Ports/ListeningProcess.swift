/// A process in the guest.
package struct ListeningProcess: Hashable, Sendable {
    package var pid: Int32
    /// The kernel's short name (comm), at most 15 bytes.
    package var name: String
    /// The first bytes of its command line, with spaces between the arguments; nil when not known.
    package var command: String?
    /// The id or name of the container that it runs in; nil when it is in none that is recognised.
    package var container: String?

    package init(pid: Int32, name: String, command: String? = nil, container: String? = nil) {
        self.pid = pid
        self.name = name
        self.command = command
        self.container = container
    }
}
