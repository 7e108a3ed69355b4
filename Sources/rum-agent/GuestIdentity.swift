import AgentChannel
import Linux

/// What this guest is called, and which run of kernel and agent this is.
enum GuestIdentity {
    /// The kernel's host name.
    static var hostname: String { firstLine(of: "/proc/sys/kernel/hostname") }

    /// New at every boot; see random(4).
    static var bootID: String { firstLine(of: "/proc/sys/kernel/random/boot_id") }

    /// New at every call.
    static func newInstanceID() -> String { String(MachineToken.random().text.prefix(32)) }

    private static func firstLine(of path: String) -> String { (try? SmallFile.firstLine(of: path)) ?? "" }
}
