/// What a client asks of the process that owns a machine's forwards; one a connection.
package enum ControlRequest: Hashable, Sendable {
    /// One `report`.
    case status
    /// Every forward as an event, a `report`, and from then on what happens as it happens.
    case events
    /// One `answer`, once the port is open or `seconds` have passed.
    case wait(port: UInt16, seconds: Double)
    /// One `answer`: why a port is or is not forwarded.
    case why(port: UInt16)
    /// One `answer`: forwards a port until the owner ends, or stops doing so.
    case add(ControlForward)
    case remove(ControlForward)
    /// Ends the owner. One `answer` at once; the connection ends when the owner has.
    case stop
}

/// A forward as a request names it.
package struct ControlForward: Codable, Hashable, Sendable {
    /// An address, or `localhost`.
    package var bind: String
    package var host: UInt16
    package var guest: UInt16

    package init(bind: String, host: UInt16, guest: UInt16) {
        self.bind = bind
        self.host = host
        self.guest = guest
    }
}

extension ControlRequest: Codable {
    private enum Name: String, Codable {
        case status, events, wait, why, add, remove, stop
    }

    private enum CodingKeys: String, CodingKey {
        case request, port, seconds, forward
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func port() throws -> UInt16 { try values.decode(UInt16.self, forKey: .port) }
        func forward() throws -> ControlForward { try values.decode(ControlForward.self, forKey: .forward) }
        switch try values.decode(Name.self, forKey: .request) {
        case .status: self = .status
        case .events: self = .events
        case .wait: self = .wait(port: try port(), seconds: try values.decode(Double.self, forKey: .seconds))
        case .why: self = .why(port: try port())
        case .add: self = .add(try forward())
        case .remove: self = .remove(try forward())
        case .stop: self = .stop
        }
    }

    package func encode(to encoder: any Encoder) throws {
        var values = encoder.container(keyedBy: CodingKeys.self)
        func name(_ name: Name) throws { try values.encode(name, forKey: .request) }
        switch self {
        case .status: try name(.status)
        case .events: try name(.events)
        case .wait(let port, let seconds):
            try name(.wait)
            try values.encode(port, forKey: .port)
            try values.encode(seconds, forKey: .seconds)
        case .why(let port):
            try name(.why)
            try values.encode(port, forKey: .port)
        case .add(let forward):
            try name(.add)
            try values.encode(forward, forKey: .forward)
        case .remove(let forward):
            try name(.remove)
            try values.encode(forward, forKey: .forward)
        case .stop: try name(.stop)
        }
    }
}
