import ArgumentParser
import CommandMain
import Linux
import PortForward
import Ports

extension PortRange: ExpectedArgument {
    package static let expected = rule

    package init?(argument: String) { self.init(text: argument) }
}

extension PortNumber: ExpectedArgument {
    package static let expected = "a port from 1 to 65535"

    package init?(argument: String) { self.init(text: argument) }
}

extension BindAddress: ExpectedArgument {
    package static let expected = "an IP address such as 127.0.0.1 or ::1, or localhost for both of them"

    package init?(argument: String) { self.init(text: argument) }
}

extension AllowedClients: ExpressibleByArgument {}

extension StaticPort: ExpectedArgument {
    package static let expected = "a forward such as 8080:80 or [::1]:8080:80"

    /// Reads `[BIND:]HOST:GUEST`; an IPv6 BIND is in brackets.
    package init?(argument: String) {
        var parts = argument.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count >= 2, let guest = PortNumber(text: parts.removeLast()),
            let host = PortNumber(text: parts.removeLast())
        else { return nil }
        var bind = BindAddress.loopback
        if !parts.isEmpty {
            var text = parts.joined(separator: ":")
            let isBracketed = text.hasPrefix("[") && text.hasSuffix("]")
            // Without brackets, nobody could tell where an IPv6 address ends.
            guard isBracketed || !text.contains(":") else { return nil }
            if isBracketed { text = String(text.dropFirst().dropLast()) }
            guard let given = BindAddress(argument: text) else { return nil }
            bind = given
        }
        self.init(bind: bind, host: host, guest: guest)
    }
}
