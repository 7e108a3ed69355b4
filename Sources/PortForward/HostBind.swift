package import ListenTable

/// Where on the host a forward is bound: one address, or `localhost` for both loopback addresses.
package struct HostBind: Hashable, Sendable, CustomStringConvertible {
    package static let loopback = HostBind(text: "127.0.0.1", addresses: [.loopbackV4])
    package static let localhost = HostBind(text: "localhost", addresses: [.loopbackV4, .loopbackV6])

    /// As the user wrote it.
    package let text: String
    /// All of them are bound, or none; of several, those of a family the host lacks are left out.
    package let addresses: [IPAddress]

    package init(text: String, addresses: [IPAddress]) {
        self.text = text
        self.addresses = addresses
    }

    package init(_ address: IPAddress) { self.init(text: "\(address)", addresses: [address]) }

    /// The bind address with a port, as users write it: an IPv6 address in brackets.
    package func with(_ port: PortNumber) -> String {
        text.contains(":") ? "[\(text)]:\(port)" : "\(text):\(port)"
    }

    package var description: String { text }
}
