package import ListenTable

/// Where a host port is bound: an address, or `localhost` for both loopback addresses.
package struct BindAddress: Hashable, Sendable, CustomStringConvertible {
    /// As written in rum.toml.
    package let description: String
    /// One address; 127.0.0.1 and ::1 for `localhost`.
    package let addresses: [IPAddress]

    package static let loopback = BindAddress(description: "127.0.0.1", addresses: [.loopbackV4])

    /// Reads an IP address or `localhost`; nil for anything else.
    package init?(text: String) {
        if text == "localhost" {
            self.init(description: text, addresses: [.loopbackV4, .loopbackV6])
        } else if let address = IPAddress(text: text) {
            self.init(description: text, addresses: [address])
        } else {
            return nil
        }
    }

    private init(description: String, addresses: [IPAddress]) {
        self.description = description
        self.addresses = addresses
    }

    /// Whether one port bound to both would be refused: an address in common, or a wildcard of its family.
    package func collides(with other: BindAddress) -> Bool {
        addresses.contains { mine in
            other.addresses.contains { theirs in
                mine == theirs || mine.isV6 == theirs.isV6 && (mine.isUnspecified || theirs.isUnspecified)
            }
        }
    }
}
