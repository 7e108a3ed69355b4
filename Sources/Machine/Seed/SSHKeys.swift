internal import Linux

/// The keys with which a machine's user and its sshd know each other, made once and kept in the machine's folder.
struct SSHKeys: Hashable, Sendable {
    /// The guest's own key, which its seed brings: so the host knows it before the first connection.
    struct Host: Hashable, Sendable {
        /// Both as OpenSSH writes them to files.
        var privateKey: String
        var publicKey: String
    }

    /// A line of authorized_keys: the guest's user accepts the private half.
    var client: String
    var host: Host

    /// Makes what is missing; nil where OpenSSH is not installed.
    static func complete(_ files: MachineFiles, machine: String) async throws(MachineError) -> SSHKeys? {
        do throws(MachineError) {
            try await make(files.sshKey, comment: "rum")
            try await make(files.sshHostKey, comment: "rum-\(machine)")
        } catch {
            if error.kind == .missingTool { return nil }
            throw error
        }
        let host = Host(
            privateKey: try MachineFiles.read(files.sshHostKey),
            publicKey: try MachineFiles.read(files.sshHostKey + ".pub"))
        // Anew each time: it is short, and somebody may have changed it.
        let known = "rum-\(machine) \(firstLine(of: host.publicKey))\n"
        try MachineFiles.write(Array(known.utf8), to: files.knownHosts)
        return SSHKeys(client: firstLine(of: try MachineFiles.read(files.sshKey + ".pub")), host: host)
    }

    private static func make(_ path: String, comment: String) async throws(MachineError) {
        guard !MachineFiles.exists(path) || !MachineFiles.exists(path + ".pub") else { return }
        // ssh-keygen asks before it replaces one.
        try MachineFiles.remove(path)
        try await Tool.sshKeygen.output(of: ["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", path])
    }

    private static func firstLine(of text: String) -> String {
        text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
    }
}
