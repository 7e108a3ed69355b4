package import AgentAPI
package import Ports

/// What a host learns of the agent it follows.
package enum AgentEvent: Sendable {
    /// A new connection is up. Another instance id than before means that the agent was started anew.
    case connected(AgentInfo, AgentStart, delivery: TableDelivery)
    /// The agent's newest table, with the estimate that turns its time stamps into the host's.
    case table(ListenTable, ClockOffset)
    /// A heartbeat was answered.
    case alive(AgentInfo, ClockOffset)
    /// The connection is gone, or could not be made again: what listens is unknown, not nothing.
    case lost(AgentProblem)
}

/// How tables come.
package enum TableDelivery: String, Sendable {
    case stream
    /// An older agent, or `--poll`: once a second.
    case poll
}

/// One more attempt has failed before the agent could be followed for the first time.
package struct AgentWaiting: Sendable {
    package let problem: AgentProblem
    /// Whether it is another problem than at the attempt before.
    package let isNews: Bool
    /// Since the first attempt began.
    package let elapsed: Duration
}
