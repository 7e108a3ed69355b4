/// A closed range of ports, written `5000-6000`, or `5000` for one port.
package struct PortRange: Hashable, Sendable, CustomStringConvertible {
    package let lower: PortNumber
    package let upper: PortNumber

    /// Every port, 1 to 65535.
    package static let all = PortRange(uncheckedLower: .lowest, upper: .highest)

    /// What a text must be to be one, for messages.
    package static let rule = "min-max such as \"5000-6000\", two ports from 1 to 65535 with min <= max"

    /// Returns nil when `lower` is above `upper`.
    package init?(_ lower: PortNumber, _ upper: PortNumber) {
        guard lower <= upper else { return nil }
        self.lower = lower
        self.upper = upper
    }

    /// Reads `min-max` or a single port; nil when it is neither, or when min is above max.
    package init?(text: some StringProtocol) {
        let parts = text.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let last = parts.last,
            let lower = PortNumber(text: first), let upper = PortNumber(text: last)
        else { return nil }
        self.init(lower, upper)
    }

    private init(uncheckedLower lower: PortNumber, upper: PortNumber) {
        self.lower = lower
        self.upper = upper
    }

    package func contains(_ port: PortNumber) -> Bool { lower <= port && port <= upper }

    package var description: String { "\(lower)-\(upper)" }
}
