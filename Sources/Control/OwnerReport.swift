package import Linux

/// What the process that owns a machine's forwards knows about them.
package struct OwnerReport: Codable, Hashable, Sendable {
    /// One forward, with the names of the events.
    package struct Forward: Codable, Hashable, Sendable {
        package var kind: String
        package var bind: String
        package var hostPort: UInt16
        package var guestPort: UInt16
        /// nil when nothing listens there, as far as known.
        @OrNull package var guestAddress: String? = nil
        @OrNull package var process: String? = nil
        @OrNull package var pid: Int32? = nil
        /// Of the rule that decided, and the line of rum.toml on which that begins.
        @OrNull package var label: String? = nil
        @OrNull package var ruleLine: Int? = nil
        /// What its rule says to do when the host port is taken; nil without a rule.
        @OrNull package var onConflict: String? = nil
        /// `open`, `held`, `blocked` or `asking`.
        package var state: String
        /// Why it is not open, or open on another host port than it should be.
        @OrNull package var reason: String? = nil
        @OrNull package var latencyMicroseconds: UInt64? = nil
        /// Accepted since the port was opened, and open now.
        package var connections: UInt64
        package var active: UInt64
        package var bytes: UInt64
        /// Where it is reached by name; nil while names lead nowhere.
        @OrNull package var url: String? = nil

        package init(kind: String, bind: String, hostPort: UInt16, guestPort: UInt16, state: String) {
            self.kind = kind
            self.bind = bind
            self.hostPort = hostPort
            self.guestPort = guestPort
            self.state = state
            connections = 0
            active = 0
            bytes = 0
        }

        enum CodingKeys: String, CodingKey {
            case kind, bind, process, pid, label, state, reason, connections, active, bytes, url
            case ruleLine = "rule_line"
            case onConflict = "on_conflict"
            case hostPort = "host_port"
            case guestPort = "guest_port"
            case guestAddress = "guest_address"
            case latencyMicroseconds = "latency_us"
        }
    }

    package var pid: Int32
    /// Whether it runs without a terminal.
    package var isBackground: Bool
    /// The version of its program.
    package var rum: String
    /// Why the agent can't be followed; nil while it can.
    @OrNull package var agentProblem: String? = nil
    /// `stream` or `poll`; nil while the agent can't be followed.
    @OrNull package var delivery: String? = nil
    /// The agent's version, how it looks, and who wakes it; nil until it has answered.
    @OrNull package var agent: String? = nil
    /// `min-max`; nil when no port is forwarded by itself.
    @OrNull package var autoRange: String? = nil
    /// Where the machine's page is that lists what is reached by name; nil while names lead nowhere.
    @OrNull package var url: String? = nil
    package var forwards: [Forward]

    package init(pid: Int32, isBackground: Bool, rum: String, forwards: [Forward]) {
        self.pid = pid
        self.isBackground = isBackground
        self.rum = rum
        self.forwards = forwards
    }

    enum CodingKeys: String, CodingKey {
        case pid, rum, delivery, agent, forwards, url
        case isBackground = "background"
        case agentProblem = "agent_problem"
        case autoRange = "auto_range"
    }
}
