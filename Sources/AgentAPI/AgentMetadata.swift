/// Metadata of every call.
package enum AgentMetadata {
    /// Carries the machine's token as 64 hexadecimal digits.
    package static let tokenKey = "rum-token"
}
