internal import Glibc

/// The user on whose behalf this process works.
package enum CallingUser {
    /// The effective user; with sudo(8), whoever called it to become root.
    package static var id: UInt32 {
        guard geteuid() == 0, let text = getenv("SUDO_UID"), let caller = UInt32(String(cString: text)) else {
            return geteuid()
        }
        return caller
    }
}
