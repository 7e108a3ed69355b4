/// The two ports on which an agent answers.
package enum AgentPort: UInt32, Sendable, CaseIterable {
    /// gRPC, service `rum.v1.RumAgent`.
    case rpc = 2222
    /// Forwarded connections, each with a preamble.
    case forward = 2223
}
