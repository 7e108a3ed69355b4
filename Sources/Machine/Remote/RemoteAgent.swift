internal import AgentChannel
internal import Glibc
internal import Linux

/// The agent in a machine that somebody else has started, and that OpenSSH reaches.
package struct RemoteAgent: Sendable {
    /// What OpenSSH calls the machine, such as `dev@box` or `ssh://dev@box:2200`.
    let destination: String
    /// What belongs to it on this host, in a folder that only this user can look into.
    package let folder: String

    /// The folder is `agents/NAME` beside that of all machines; it is made when there is something to keep.
    package init(destination: String, environment: [String: String]) throws(MachineError) {
        self.destination = destination
        let shared = try MachineFiles.sharedFolder(environment: environment)
        folder = "\(shared)/agents/\(Self.fileName(for: destination))"
    }

    /// A file's name that no other text has.
    private static func fileName(for text: String) -> String {
        text.utf8.enumerated().map { index, byte in
            let character = Character(UnicodeScalar(byte))
            let isPlain =
                byte < 0x80 && (character.isLetter || character.isNumber || "@-_".contains(character))
            if isPlain || character == "." && index > 0 { return String(character) }
            return "%" + byte.hexadecimal(digits: 2)
        }.joined()
    }

    /// Where the token is kept.
    package var tokenFile: String { folder + "/token" }

    /// The token in the file at `path`; nil when there is no such file.
    static func token(at path: String) throws(MachineError) -> MachineToken? {
        guard MachineFiles.exists(path) else { return nil }
        if let token = MachineToken(text: try MachineFiles.read(path)) { return token }
        throw MachineError(
            .files, "\(path) holds no token", hint: "Name another file, or remove this one for a new token.")
    }
}

// MARK: - Installing

extension RemoteAgent {
    /// Copies the bundle and its service, and starts the agent; what is not as it should be there, but stops nothing.
    /// Whoever ssh logs in must be root, or be able to become root without a password. ssh asks its questions on the terminal.
    ///
    /// - Parameter tokenFile: has the agent's token, and is made with a new one if there is none. What fails leaves no file.
    package func install(bundle: String, tokenFile: String) async throws(MachineError) -> [String] {
        let known = try Self.token(at: tokenFile)
        let token = known ?? .random()
        let warnings = try await install(bundle: bundle, token: token)
        if known == nil {
            // A second time with another token would do no harm there, so it need not be known before.
            if tokenFile == self.tokenFile { try MachineFiles.makeDirectory(folder) }
            try MachineFiles.write(Array((token.text + "\n").utf8), to: tokenFile)
        }
        return warnings
    }

    private func install(bundle: String, token: MachineToken) async throws(MachineError) -> [String] {
        guard let path = realpath(bundle, nil) else {
            throw MachineError(
                .files, "there is no agent bundle at \(bundle)", hint: MachineStarter.bundleHint)
        }
        defer { free(path) }
        let kit = AgentKit(token: token, bundleDigest: try await ImageDigest.digits(of: bundle))
        let place = folder + "/kit"
        try MachineFiles.remove(place)
        try MachineFiles.makeDirectory(place)
        let archive = place + ".tar"
        defer {
            for path in [place, archive] { try? MachineFiles.remove(path) }
            rmdir(folder)
        }
        for (name, text) in kit.files { try MachineFiles.write(Array(text.utf8), to: "\(place)/\(name)") }
        guard symlink(path, place + "/rum-agent.tar.gz") == 0 else {
            throw MachineFiles.failure("create", place, .current("symlink"))
        }
        let outcome = try await Tool.sh.outcome(of: [
            "-c", "tar -C \"$0\" -chf \"$0.tar\" . && exec ssh \"$@\" <\"$0.tar\"", place, "--", destination,
            Self.remoteCommand,
        ])
        let said = AgentKit.read(outcome.output)
        if let failure = said.failure {
            throw MachineError(
                .tool, "the agent could not be installed on \(destination): \(failure)",
                hint: """
                    Mend that there, and run it again. What the agent says is shown by journalctl -u rum-agent, or without \
                    systemd in /run/rum-agent.log.
                    """)
        }
        guard said.isListening else {
            throw MachineError(
                .tool, "ssh \(destination) failed: \(outcome.complaint)",
                hint: "Try it by hand: ssh \(destination) true")
        }
        return said.warnings
    }

    /// What the machine's shell runs, whichever that is: csh and fish read it as sh does.
    private static let remoteCommand = """
        sh -c 'kit=$(mktemp -d) && trap "rm -rf $kit" EXIT && tar -xf - -C "$kit" && \
        if [ "$(id -u)" = 0 ]; then sh "$kit/remote-install"; \
        elif sudo -n true 2>/dev/null; then sudo -n sh "$kit/remote-install"; \
        elif doas -n true 2>/dev/null; then doas -n sh "$kit/remote-install"; \
        else echo "rum-install: failed at \\"sudo -n\\": log in as root, or allow sudo without a password"; fi'
        """
}

// MARK: - Reaching it

extension RemoteAgent {
    /// Keeps an ssh running that leads the sockets of `directory` to the agent, until the task is cancelled. The directory is
    /// made first and removed at the end; ssh ends with this process even if that is killed. `tell` gets a line when ssh ends,
    /// unless it says the same again; then it is started again.
    package func keepReachable(
        in directory: String, tell: @Sendable (String) -> Void
    ) async throws(MachineError) {
        defer { try? MachineFiles.remove(directory) }
        var told = ""
        while !Task.isCancelled {
            try MachineFiles.remove(directory)
            try MachineFiles.makeDirectory(directory)
            let outcome = try await Tool.ssh.leashedOutcome(
                of: Self.tunnel(to: destination, in: directory), removing: directory)
            if Task.isCancelled { return }
            if told != outcome.complaint { tell("ssh \(destination) ended: \(outcome.complaint)") }
            told = outcome.complaint
            try? await Task.sleep(for: MachineLimits.tunnelPause)
        }
    }

    /// ssh's arguments. It says nothing of each refused connection, and notices within 15 s that the machine is gone.
    static func tunnel(to destination: String, in directory: String) -> [String] {
        let ways = AgentPort.allCases.flatMap { port in
            ["-L", "\(directory)/\(port.rawValue).sock:127.0.0.1:\(port.rawValue)"]
        }
        let options = [
            "ControlPath=none", "ExitOnForwardFailure=yes", "ServerAliveInterval=5", "LogLevel=ERROR",
        ]
        return ["-N"] + options.flatMap { ["-o", $0] } + ways + ["--", destination]
    }
}
