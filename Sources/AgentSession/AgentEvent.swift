package import AgentAPI
package import Ports

/// What a host learns of the agent it follows.
package enum AgentEvent: Sendable {
    /// A new connection is up. Another instance id than before means that the agent was started anew.
    case connected(AgentInfo, delivery: TableDelivery)
    /// The agent's newest table, with the estimate that turns its time stamps into the host's.
    case table(ListenTable, ClockOffset)
    /// A heartbeat was answered.
    case alive(AgentInfo, ClockOffset)
    /// The connection is gone, or could not be made: what listens is unknown, not nothing.
    case lost(reason: String)
}

/// How tables come.
package enum TableDelivery: String, Sendable {
    case stream
    /// An older agent, or `--poll`: once a second.
    case poll
}
