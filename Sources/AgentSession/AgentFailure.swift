internal import GRPCCore

/// What a failed call on an agent means, in the user's words.
enum AgentFailure {
    /// Completes "Lost the guest's agent: " and "Waiting for the agent: ".
    static func text(of error: any Error) -> String {
        guard let error = error as? RPCError else { return "\(error)" }
        return switch error.code {
        case .deadlineExceeded: "the agent did not answer in time"
        case .unauthenticated: "the agent refused the token"
        case .unavailable: "the connection to it broke"
        default: error.message.isEmpty ? "\(error.code)" : error.message
        }
    }
}
