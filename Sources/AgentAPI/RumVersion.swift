/// The version of this build, the same for host and agent.
package let rumVersion = "0.1.0"

/// Metadata of every call.
package enum AgentMetadata {
    /// Carries the machine's token as 64 hexadecimal digits.
    package static let tokenKey = "rum-token"
}
