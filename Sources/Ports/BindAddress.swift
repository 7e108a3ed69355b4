package import Linux

/// Where on the host a forward is bound: one address, or `localhost` for both loopback addresses.
package struct BindAddress: Hashable, Sendable, CustomStringConvertible {
    package static let loopback = BindAddress(.loopbackV4)
    package static let localhost = BindAddress(
        text: "localhost", addresses: [.loopbackV4, .loopbackV6])

    /// An address in its shortest form, or `localhost`.
    package let text: String
    /// All of them are bound, or none; of several, those of a family the host lacks are left out.
    package let addresses: [IPAddress]

    package init(_ address: IPAddress) { self.init(text: "\(address)", addresses: [address]) }

    /// Reads an IP address or `localhost`; nil for anything else.
    package init?(text: String) {
        if text == Self.localhost.text {
            self = .localhost
        } else if let address = IPAddress(text: text) {
            self.init(address)
        } else {
            return nil
        }
    }

    private init(text: String, addresses: [IPAddress]) {
        self.text = text
        self.addresses = addresses
    }

    /// The address with a port, as users write it: an IPv6 address in brackets.
    package func with(_ port: PortNumber) -> String {
        text.contains(":") ? "[\(text)]:\(port)" : "\(text):\(port)"
    }

    /// Whether one port bound to both would be refused: an address in common, or a wildcard of its family.
    package func collides(with other: BindAddress) -> Bool {
        addresses.contains { mine in
            other.addresses.contains { theirs in
                mine == theirs || mine.isV6 == theirs.isV6 && (mine.isUnspecified || theirs.isUnspecified)
            }
        }
    }

    package var description: String { text }
}
