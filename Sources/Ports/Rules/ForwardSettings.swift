/// How the data path treats the connections of a forward. A forward whose settings change is opened anew.
package struct ForwardSettings: Hashable, Sendable {
    /// How long a client waits while nothing listens in the guest; nil for not at all.
    package var hold: Duration?
    /// Whether the guest's program is told the client's address, by the PROXY protocol (version 2).
    package var proxyProtocol = false

    /// More than any restart that a client would wait out.
    package static let longestHold = Duration.seconds(60)

    package init() {}
}
