/// The secret a host shows to the agent of its machine: 32 bytes, all zero where none is used.
///
/// On vsock any local user of the host could open the agent's ports; the token keeps them out.
package struct MachineToken: Hashable, Sendable {
    package static let size = 32
    /// Stands for "no token".
    package static let none = MachineToken(unchecked: [UInt8](repeating: 0, count: size))

    package let bytes: [UInt8]

    /// Returns nil unless there are exactly `size` bytes.
    package init?(bytes: some Collection<UInt8>) {
        guard bytes.count == Self.size else { return nil }
        self.bytes = Array(bytes)
    }

    /// Reads 64 hexadecimal digits, as a token file holds them; white space around them is ignored.
    package init?(text: some StringProtocol) {
        let digits = Array(text.utf8).trimmed.map(Self.digit)
        guard digits.count == 2 * Self.size else { return nil }
        var bytes: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let high = digits[index], let low = digits[index + 1] else { return nil }
            bytes.append(high << 4 | low)
        }
        self.bytes = bytes
    }

    /// A new token from the system's random number generator.
    package static func random() -> MachineToken {
        var generator = SystemRandomNumberGenerator()
        return MachineToken(unchecked: (0..<size).map { _ in UInt8.random(in: 0...255, using: &generator) })
    }

    private init(unchecked bytes: [UInt8]) { self.bytes = bytes }

    /// 64 lower-case hexadecimal digits.
    package var text: String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Compares in a time that does not depend on where the tokens differ.
    package func matches(_ other: MachineToken) -> Bool {
        zip(bytes, other.bytes).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension [UInt8] {
    /// Without ASCII white space at both ends.
    fileprivate var trimmed: ArraySlice<UInt8> {
        let isSpace: (UInt8) -> Bool = { $0 == 32 || (9...13).contains($0) }
        guard let first = firstIndex(where: { !isSpace($0) }), let last = lastIndex(where: { !isSpace($0) })
        else {
            return []
        }
        return self[first...last]
    }
}
