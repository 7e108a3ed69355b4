package import AgentAPI
package import AgentSession

/// What a session knows about its agent.
package enum AgentStatus: Sendable {
    case notYetReached
    case connected(AgentInfo, TableDelivery)
    case lost(reason: String)
}
