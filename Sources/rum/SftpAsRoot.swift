import Machine
import RumConfig

/// The guest's sftp-server, run as root by the agent: what scp starts in ssh's place for `rum cp --root`.
///
/// The machine's sshd lets no root in, and its user's sftp-server is that user's.
enum SftpAsRoot {
    /// Where distributions keep sftp-server: Debian; Fedora, SUSE; Arch, Alpine.
    private static let servers = [
        "/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/ssh/sftp-server",
        "/usr/lib/ssh/sftp-server",
    ]

    /// A script of the host's shell. scp's arguments, which are ssh's, tell it nothing that it does not know.
    static func script(program: String, machine: String) -> String {
        let inGuest = """
            for server in \(servers.joined(separator: " ")); do [ ! -x $server ] || exec $server; done; \
            echo "the guest has no sftp-server, which comes with its sshd" >&2; exit 1
            """
        let words = [program, "exec", "--root", "-T", machine, "--", "sh", "-c", inGuest]
        return "#!/bin/sh\nexec " + words.map(SshSettings.shellQuoted).joined(separator: " ") + "\n"
    }

    /// Writes the script to its place among the machine's files; this program may have moved.
    static func write(_ machine: VirtualMachine) throws(MachineError) {
        try machine.files.writeSftpAsRoot(
            script(program: SshSettings.program, machine: machine.config.name))
    }
}
