package import Linux

/// Where on the host a forward is bound: one address, `localhost` for both loopback addresses, or `machine` for the
/// loopback address that a machine has to itself.
package struct BindAddress: Hashable, Sendable, CustomStringConvertible {
    package static let loopback = BindAddress(.loopbackV4)
    package static let localhost = BindAddress(
        text: "localhost", addresses: [.loopbackV4, .loopbackV6])
    /// The machine's own loopback address, which is not known yet; see `resolved(to:)`.
    package static let machine = BindAddress(text: "machine", addresses: [])

    /// An address in its shortest form, or `localhost`.
    package let text: String
    /// Empty for `machine`. All of them are bound, or none; of several, those of a family the host lacks are left out.
    package let addresses: [IPAddress]

    package init(_ address: IPAddress) { self.init(text: "\(address)", addresses: [address]) }

    /// Reads an IP address or `localhost`; nil for anything else, `machine` too, which means something in a rum.toml only.
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

    /// What to bind: `own` in the place of `machine`.
    package func resolved(to own: IPAddress) -> BindAddress { self == .machine ? BindAddress(own) : self }

    /// Whether one port bound to both would be refused: an address in common, or a wildcard of its family.
    package func collides(with other: BindAddress) -> Bool {
        if self == .machine || other == .machine {
            // A machine's own address is an IPv4 one that nothing else names.
            return self == other || (addresses + other.addresses).contains(.anyV4)
        }
        return addresses.contains { mine in
            other.addresses.contains { theirs in
                mine == theirs || mine.isV6 == theirs.isV6 && (mine.isUnspecified || theirs.isUnspecified)
            }
        }
    }

    package var description: String { text }
}
