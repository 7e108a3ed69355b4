/// The limits and time-outs of `rum.v1`: the host's session with an agent, and the agent's service.
package enum AgentLimits {
    // MARK: The host's session

    /// For the first answer on a new connection that is tried again. Short, since what was sent to a guest that had no network
    /// yet is as good as lost, and the next attempt must not wait for it.
    package static let firstAnswer = Duration.milliseconds(1500)
    /// The same for one that is tried once, such as that of `rum exec`.
    package static let onlyAnswer = Duration.seconds(5)
    /// For the answer to a heartbeat.
    package static let answer = Duration.seconds(2)
    /// For the answer to a poll, which may be a large table. Heartbeats go on meanwhile.
    package static let polledTable = Duration.seconds(30)
    /// Between two heartbeats. An agent that goes away without a word is noticed after this and `answer`.
    package static let heartbeat = Duration.seconds(5)
    /// Between two polls of an agent that has no stream.
    package static let poll = Duration.seconds(1)
    /// From the end of a connection that lasted to the next attempt; twice as long after each that does not last.
    package static let shortestPause = Duration.milliseconds(100)
    /// Between the starts of two attempts before the agent has answered for the first time: a guest that boots should
    /// be found as soon as it can answer.
    package static let pauseBeforeFirstAnswer = Duration.milliseconds(250)
    /// Between the starts of two attempts later. A guest that reboots is found within 2 s, while one that stays down
    /// costs one short attempt a second.
    package static let longestPause = Duration.seconds(1)
    /// After a table that was too large: the next one will hardly be smaller soon.
    package static let pauseAfterLargeTable = Duration.seconds(10)
    /// The largest message that the host takes, in bytes. A listener is encoded in at most 65 bytes, so every port can
    /// have seven of them; a larger table is refused.
    package static let largestMessage = 32 << 20
    /// Rows of one table, seven for every port.
    package static let mostRows = 7 * 65535
    package static let mostPorts = 65535
    /// Processes that are described in one table; and bytes of one of them.
    package static let mostDescribed = 4096
    static let longestDescription = 1024
    /// Unicode scalars of a process's name, and of other text that an agent sends to be shown; the host cuts off the rest. Names of
    /// the kernel have 15. With all forwards named so, a message of the control socket still holds them.
    package static let longestName = 64
    static let longestText = 1000

    /// Forwards that a host tells of; and how soon after a list the next one goes.
    package static let mostForwards = 4096
    package static let betweenForwards = Duration.milliseconds(100)

    // MARK: The agent's service

    /// How long a new connection may take until its first call arrives with the right token.
    package static let proof = Duration.seconds(2)
    /// How many connections may be without such a call; one more ends the oldest of them.
    package static let unprovenConnections = 64
    /// Calls at a time on one connection.
    package static let callsPerConnection = 100
    /// Connections over which the agent sends tables by themselves; one more is refused, and its host takes the stream.
    package static let feeds = 8
}
