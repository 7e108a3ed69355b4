internal import AgentChannel

/// What `rum agent install` brings to a machine that somebody else has started: the agent, its token and what keeps it
/// running, installed by the scripts of a machine's seed.
struct AgentKit: Hashable, Sendable {
    var token: MachineToken
    /// The SHA-256 of the agent's bundle.
    var bundleDigest: String

    /// The files of the kit but the bundle itself, which is `rum-agent.tar.gz`.
    var files: [String: String] {
        [
            "remote-install": GuestSeed.text(PackageResources.remote_install_sh),
            "install": GuestSeed.text(PackageResources.install_sh),
            // Loopback only: whoever comes from elsewhere comes through ssh, which hides the token and the bytes.
            "listen": GuestSeed.arguments(["tcp:127.0.0.1:\(AgentPort.rpc.rawValue)"]),
            "rum-agent.service": Self.unit,
            "rum-agent.init": GuestSeed.text(PackageResources.agent_service_sh),
            "rum-agent.openrc": GuestSeed.openRCScript,
            "rum-agent.sha256": bundleDigest + "\n",
            "token": token.text + "\n",
        ]
    }

    /// There is no seed to read, and the console is not this host's to look at.
    private static let unit = GuestSeed.agentUnit.replacing("journal+console", with: "journal")
        .split(separator: "\n", omittingEmptySubsequences: false).filter { !$0.contains("read-seed") }
        .joined(separator: "\n")

    /// How an installation went.
    struct Outcome: Hashable, Sendable {
        var isListening = false
        var failure: String?
        var warnings: [String] = []
    }

    /// What the scripts have said over there; anything else may stand between.
    static func read(_ text: String) -> Outcome {
        var outcome = Outcome()
        var reader = ConsoleReader()
        for news in reader.read((text + "\n").utf8) {
            switch news {
            case .installFailed(let words): outcome.failure = words
            case .warning("listening"): outcome.isListening = true
            case .warning(let words): outcome.warnings.append(words)
            default: break
            }
        }
        return outcome
    }
}
