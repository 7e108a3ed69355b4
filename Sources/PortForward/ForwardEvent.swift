package import ListenTable

/// Something that has happened to a forward or to the agent, told after the fact.
package struct ForwardEvent: Hashable, Sendable {
    package enum Name: String, Sendable {
        /// The host port accepts connections.
        case opened
        /// The host port refuses connections again.
        case closed
        /// The host port could not be opened; it will be as soon as it can.
        case blocked
        /// The agent does not answer: what listens in the guest is unknown.
        case agentLost = "agent_lost"
        case agentBack = "agent_back"
    }

    package var name: Name
    /// nil for events of the agent.
    package var forward: WantedForward.Key?
    /// Who listens in the guest, as far as known.
    package var listener: ListeningSocket?
    /// Why: of `blocked`, `closed` and the agent's events; nil for the usual reason.
    package var reason: String?
    /// What bind(2) said; only of `blocked`.
    package var failure: BindFailure?
    /// From listen(2) in the guest to the open host port; nil when the former was not seen.
    package var latencyMicroseconds: UInt64?
    /// Microseconds since 1970.
    package var timeMicroseconds: UInt64

    package init(
        name: Name, forward: WantedForward.Key? = nil, listener: ListeningSocket? = nil,
        reason: String? = nil, failure: BindFailure? = nil, latencyMicroseconds: UInt64? = nil,
        timeMicroseconds: UInt64
    ) {
        self.name = name
        self.forward = forward
        self.listener = listener
        self.reason = reason
        self.failure = failure
        self.latencyMicroseconds = latencyMicroseconds
        self.timeMicroseconds = timeMicroseconds
    }

    /// One line for people, without its end.
    package var line: String {
        let because = reason.map { ": \($0)" } ?? ""
        switch name {
        case .opened: return "\(prefix) \(hostText) → guest:\(forward?.guestPort.description ?? "?")"
        case .closed: return "Stopped forwarding port \(forward?.hostPort.description ?? "?")"
        case .blocked: return "Blocked: \(reason ?? hostText); \(outlook)"
        case .agentLost: return "Lost the guest's agent\(because)"
        case .agentBack: return "The guest's agent is back\(because)"
        }
    }

    /// One JSON object, without a line end; every key is always there.
    package var json: String {
        var object = JSONLine()
        object.add("event", name.rawValue)
        object.add("kind", forward?.kind.rawValue)
        object.add("bind", forward?.bind.text)
        object.add("host_port", forward.map { UInt64($0.hostPort.rawValue) })
        object.add("guest_port", forward.map { UInt64($0.guestPort.rawValue) })
        object.add("guest_address", listener.map { "\($0.address)" })
        object.add("process", listener?.process?.name)
        object.add("pid", (listener?.process?.pid).map { UInt64(max(0, $0)) })
        object.add("reason", reason)
        object.add("latency_us", latencyMicroseconds)
        object.add("time_us", timeMicroseconds)
        return object.text
    }

    private var hostText: String { forward?.hostText ?? "?" }
    private var outlook: String {
        failure?.isBusy ?? true ? "will forward when it is free" : "will forward when it can be bound"
    }
    private var prefix: String { forward?.kind == .auto ? "Auto-forwarding" : "Forwarding" }
}

/// Writes one flat JSON object (RFC 8259).
private struct JSONLine {
    private var fields: [String] = []

    var text: String { "{" + fields.joined(separator: ",") + "}" }

    mutating func add(_ key: String, _ value: String?) {
        fields.append("\"\(key)\":" + (value.map(Self.quoted) ?? "null"))
    }

    mutating func add(_ key: String, _ value: UInt64?) {
        fields.append("\"\(key)\":" + (value.map(String.init) ?? "null"))
    }

    private static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{0}"..<" ":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
