internal import Linux

/// A TCP port a program can listen on: 1 to 65535, never 0.
package struct PortNumber: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The number, in host byte order.
    package let rawValue: UInt16

    package static let lowest = PortNumber(unchecked: 1)
    /// Where an sshd listens.
    package static let ssh = PortNumber(unchecked: 22)
    package static let highest = PortNumber(unchecked: 65535)

    /// Returns nil for 0, which the kernel uses for "not bound".
    package init?(_ rawValue: UInt16) {
        guard rawValue != 0 else { return nil }
        self.rawValue = rawValue
    }

    /// Returns nil for what is not a port.
    package init?(exactly number: Int) {
        guard let number = UInt16(exactly: number) else { return nil }
        self.init(number)
    }

    /// Reads a decimal number without sign or spaces; nil when it is not a port.
    package init?(text: some StringProtocol) {
        guard !text.isEmpty, text.utf8.allSatisfy(\.isASCIIDigit),
            let number = UInt16(text)
        else { return nil }
        self.init(number)
    }

    private init(unchecked rawValue: UInt16) { self.rawValue = rawValue }

    package static func < (left: PortNumber, right: PortNumber) -> Bool { left.rawValue < right.rawValue }

    package var description: String { String(rawValue) }
}
