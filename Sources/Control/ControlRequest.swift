/// What a client asks of the process that owns a machine's forwards; one a connection.
package enum ControlRequest: Hashable, Sendable {
    /// One `report`.
    case status
    /// Every forward as an event, a `report`, and from then on what happens as it happens.
    case events
    /// One `answer`, once the port is open or `seconds` have passed.
    case wait(port: UInt16, seconds: Double)
    /// As `wait`, once a program of the guest has accepted a connection besides, and given the HTTP answer where one is
    /// asked for.
    case ready(port: UInt16, seconds: Double, http: ControlHTTPCheck?)
    /// One `answer`: why a port is or is not forwarded.
    case why(port: UInt16)
    /// One `answer`: forwards a port until the owner ends, or stops doing so.
    case add(ControlForward)
    case remove(ControlForward)
    /// One `answer`: what the user says about a guest port whose rule asks. `forget` without a port forgets all answers.
    case allow(port: UInt16)
    case deny(port: UInt16)
    case forget(port: UInt16?)
    /// One `answer`: forwards from now on what this rum.toml says, given by its absolute path.
    case reload(file: String)
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

/// An HTTP answer that a port must give to be ready.
package struct ControlHTTPCheck: Codable, Hashable, Sendable {
    /// nil for all below 500.
    package var status: Int?
    /// What is asked for with GET; begins with a `/` and has visible ASCII characters only.
    package var path: String

    package init(status: Int? = nil, path: String = "/") {
        self.status = status
        self.path = path
    }

    /// Whether the path may stand in a request.
    package var isValid: Bool {
        path.hasPrefix("/") && path.utf8.allSatisfy { (0x21...0x7e).contains($0) }
    }

    /// Whether an answer with this status is the one that is waited for.
    package func accepts(_ status: Int) -> Bool { self.status.map { $0 == status } ?? (status < 500) }
}

extension ControlRequest: Codable {
    private enum Name: String, Codable {
        case status, events, wait, ready, why, add, remove, allow, deny, forget, reload, stop
    }

    private enum CodingKeys: String, CodingKey {
        case request, port, seconds, forward, http, file
    }

    package init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        func port() throws -> UInt16 { try values.decode(UInt16.self, forKey: .port) }
        func seconds() throws -> Double { try values.decode(Double.self, forKey: .seconds) }
        func forward() throws -> ControlForward { try values.decode(ControlForward.self, forKey: .forward) }
        switch try values.decode(Name.self, forKey: .request) {
        case .status: self = .status
        case .events: self = .events
        case .wait: self = .wait(port: try port(), seconds: try seconds())
        case .ready:
            self = .ready(
                port: try port(), seconds: try seconds(),
                http: try values.decodeIfPresent(ControlHTTPCheck.self, forKey: .http))
        case .why: self = .why(port: try port())
        case .add: self = .add(try forward())
        case .remove: self = .remove(try forward())
        case .allow: self = .allow(port: try port())
        case .deny: self = .deny(port: try port())
        case .forget: self = .forget(port: try values.decodeIfPresent(UInt16.self, forKey: .port))
        case .reload: self = .reload(file: try values.decode(String.self, forKey: .file))
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
        case .ready(let port, let seconds, let http):
            try name(.ready)
            try values.encode(port, forKey: .port)
            try values.encode(seconds, forKey: .seconds)
            try values.encodeIfPresent(http, forKey: .http)
        case .why(let port):
            try name(.why)
            try values.encode(port, forKey: .port)
        case .add(let forward):
            try name(.add)
            try values.encode(forward, forKey: .forward)
        case .remove(let forward):
            try name(.remove)
            try values.encode(forward, forKey: .forward)
        case .allow(let port):
            try name(.allow)
            try values.encode(port, forKey: .port)
        case .deny(let port):
            try name(.deny)
            try values.encode(port, forKey: .port)
        case .forget(let port):
            try name(.forget)
            try values.encodeIfPresent(port, forKey: .port)
        case .reload(let file):
            try name(.reload)
            try values.encode(file, forKey: .file)
        case .stop: try name(.stop)
        }
    }
}
