internal import Glibc

/// The folder in which a user's libvirt daemon has its socket, `XDG_RUNTIME_DIR`, also where a log-in did not set it.
package enum SessionFolder {
    /// Sets the variable where cron, su or sudo has left it out, before this process has threads. Without it libvirt would start a
    /// second daemon of this user, which does not know of the machines that run.
    package static func find() {
        let name = "XDG_RUNTIME_DIR"
        let value = getenv(name).map { String(cString: $0) }
        if let folder = missing(value) { setenv(name, folder, 1) }
    }

    /// The folder that log-ins of this user share (pam_systemd(8)), if it is there and `value` of the variable names none.
    static func missing(_ value: String?, in folders: String = "/run/user") -> String? {
        guard value ?? "" == "" else { return nil }
        let folder = "\(folders)/\(geteuid())"
        return (try? MachineFiles.checkPrivate(folder)) == nil ? nil : folder
    }
}
