/// The JSON of an event, with the names that programs rely on.
package struct EventDocument: Codable, Hashable, Sendable {
    package var event: String
    package var kind: String?
    package var bind: String?
    package var hostPort: UInt16?
    package var guestPort: UInt16?
    package var guestAddress: String?
    package var process: String?
    package var pid: Int32?
    /// Of the rule that decided, and the line of rum.toml on which that begins.
    package var label: String?
    package var ruleLine: Int?
    package var reason: String?
    package var latencyMicroseconds: UInt64?
    package var timeMicroseconds: UInt64

    package init(event: String, timeMicroseconds: UInt64) {
        self.event = event
        self.timeMicroseconds = timeMicroseconds
    }

    enum CodingKeys: String, CodingKey {
        case event, kind, bind, process, pid, label, reason
        case ruleLine = "rule_line"
        case hostPort = "host_port"
        case guestPort = "guest_port"
        case guestAddress = "guest_address"
        case latencyMicroseconds = "latency_us"
        case timeMicroseconds = "time_us"
    }

    /// Writes null for what is unknown, so that every key is always there.
    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(event, forKey: .event)
        try container.encode(kind, forKey: .kind)
        try container.encode(bind, forKey: .bind)
        try container.encode(hostPort, forKey: .hostPort)
        try container.encode(guestPort, forKey: .guestPort)
        try container.encode(guestAddress, forKey: .guestAddress)
        try container.encode(process, forKey: .process)
        try container.encode(pid, forKey: .pid)
        try container.encode(label, forKey: .label)
        try container.encode(ruleLine, forKey: .ruleLine)
        try container.encode(reason, forKey: .reason)
        try container.encode(latencyMicroseconds, forKey: .latencyMicroseconds)
        try container.encode(timeMicroseconds, forKey: .timeMicroseconds)
    }
}
