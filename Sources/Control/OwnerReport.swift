/// What the process that owns a machine's forwards knows about them.
package struct OwnerReport: Codable, Hashable, Sendable {
    /// One forward, with the names of the events.
    package struct Forward: Codable, Hashable, Sendable {
        package var kind: String
        package var bind: String
        package var hostPort: UInt16
        package var guestPort: UInt16
        /// nil when nothing listens there, as far as known.
        package var guestAddress: String?
        package var process: String?
        package var pid: Int32?
        /// Of the rule that decided, and the line of rum.toml on which that begins.
        package var label: String?
        package var ruleLine: Int?
        /// What its rule says to do when the host port is taken; nil without a rule.
        package var onConflict: String?
        /// `open`, `held`, `blocked` or `asking`.
        package var state: String
        /// Why it is not open, or open on another host port than it should be.
        package var reason: String?
        package var latencyMicroseconds: UInt64?
        /// Accepted since the port was opened, and open now.
        package var connections: UInt64
        package var active: UInt64
        package var bytes: UInt64
        /// Where it is reached by name; nil while names lead nowhere.
        package var url: String?

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

        /// Writes null for what is unknown, so that every key is always there.
        package func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(kind, forKey: .kind)
            try container.encode(bind, forKey: .bind)
            try container.encode(hostPort, forKey: .hostPort)
            try container.encode(guestPort, forKey: .guestPort)
            try container.encode(guestAddress, forKey: .guestAddress)
            try container.encode(process, forKey: .process)
            try container.encode(pid, forKey: .pid)
            try container.encode(label, forKey: .label)
            try container.encode(ruleLine, forKey: .ruleLine)
            try container.encode(onConflict, forKey: .onConflict)
            try container.encode(state, forKey: .state)
            try container.encode(reason, forKey: .reason)
            try container.encode(latencyMicroseconds, forKey: .latencyMicroseconds)
            try container.encode(connections, forKey: .connections)
            try container.encode(active, forKey: .active)
            try container.encode(bytes, forKey: .bytes)
            try container.encode(url, forKey: .url)
        }
    }

    package var pid: Int32
    /// Whether it runs without a terminal.
    package var isBackground: Bool
    /// The version of its program.
    package var rum: String
    /// Why the agent can't be followed; nil while it can.
    package var agentProblem: String?
    /// `stream` or `poll`; nil while the agent can't be followed.
    package var delivery: String?
    /// The agent's version, how it looks, and who wakes it; nil until it has answered.
    package var agent: String?
    /// `min-max`; nil when no port is forwarded by itself.
    package var autoRange: String?
    /// Where the machine's page is that lists what is reached by name; nil while names lead nowhere.
    package var url: String?
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

    /// Writes null for what is unknown, so that every key is always there.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(pid, forKey: .pid)
        try container.encode(isBackground, forKey: .isBackground)
        try container.encode(rum, forKey: .rum)
        try container.encode(agentProblem, forKey: .agentProblem)
        try container.encode(delivery, forKey: .delivery)
        try container.encode(agent, forKey: .agent)
        try container.encode(autoRange, forKey: .autoRange)
        try container.encode(url, forKey: .url)
        try container.encode(forwards, forKey: .forwards)
    }
}
