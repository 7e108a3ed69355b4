/// The greeting: the owner's first message on every connection, in every version of the protocol.
package struct ControlHello: Codable, Hashable, Sendable {
    /// The version of the protocol, `ControlLimits.version`.
    package var version: Int
    /// The version of the `rum` that runs.
    package var rum: String
    package var machine: String
    package var pid: Int32
    /// Whether it runs without a terminal, so that nobody but its socket can end it.
    package var isBackground: Bool

    package init(
        version: Int = ControlLimits.version, rum: String, machine: String, pid: Int32, isBackground: Bool
    ) {
        self.version = version
        self.rum = rum
        self.machine = machine
        self.pid = pid
        self.isBackground = isBackground
    }

    enum CodingKeys: String, CodingKey {
        case version, rum, machine, pid
        case isBackground = "background"
    }
}
