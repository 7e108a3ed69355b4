package import Linux

/// The JSON of an event, with the names that programs rely on.
package struct EventDocument: Codable, Hashable, Sendable {
    package var event: String
    @OrNull package var kind: String? = nil
    @OrNull package var bind: String? = nil
    @OrNull package var hostPort: UInt16? = nil
    @OrNull package var guestPort: UInt16? = nil
    @OrNull package var guestAddress: String? = nil
    @OrNull package var process: String? = nil
    @OrNull package var pid: Int32? = nil
    /// Of the rule that decided, and the line of rum.toml on which that begins.
    @OrNull package var label: String? = nil
    @OrNull package var ruleLine: Int? = nil
    @OrNull package var reason: String? = nil
    @OrNull package var latencyMicroseconds: UInt64? = nil
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
}
