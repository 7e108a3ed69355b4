/// An IPv4 or IPv6 address, without port, zone or prefix.
///
/// An IPv4-mapped IPv6 address (`::ffff:127.0.0.1`) stays an IPv6 address: the kernel keeps the two apart,
/// and so does every table of listeners.
package enum IPAddress: Hashable, Sendable {
    /// The 32 bits in numeric order: 127.0.0.1 is 0x7f000001.
    case v4(UInt32)
    /// The 128 bits in numeric order: ::1 is (0, 1).
    case v6(UInt64, UInt64)

    package static let anyV4 = IPAddress.v4(0)
    package static let anyV6 = IPAddress.v6(0, 0)
    package static let loopbackV4 = IPAddress.v4(0x7f00_0001)
    package static let loopbackV6 = IPAddress.v6(0, 1)

    package var isV6: Bool {
        switch self {
        case .v4: false
        case .v6: true
        }
    }

    /// `0.0.0.0` or `::`.
    package var isUnspecified: Bool { self == .anyV4 || self == .anyV6 }

    /// 127.0.0.0/8, `::1`, or the former mapped into IPv6.
    package var isLoopback: Bool {
        switch self {
        case .v4(let bits): bits >> 24 == 127
        case .v6: self == .loopbackV6 || mappedV4.map { $0 >> 24 == 127 } ?? false
        }
    }

    /// fe80::/10: meaningful only together with an interface index.
    package var isLinkLocal: Bool {
        switch self {
        case .v4: false
        case .v6(let high, _): high >> 54 == 0x3fa
        }
    }

    /// The IPv4 bits of `::ffff:a.b.c.d`, else nil (RFC 4291, 2.5.5.2).
    package var mappedV4: UInt32? {
        guard case .v6(0, let low) = self, low >> 32 == 0xffff else { return nil }
        return UInt32(truncatingIfNeeded: low)
    }
}

extension IPAddress: Comparable {
    /// IPv4 before IPv6, then by number.
    package static func < (left: IPAddress, right: IPAddress) -> Bool {
        switch (left, right) {
        case (.v4(let a), .v4(let b)): a < b
        case (.v4, .v6): true
        case (.v6, .v4): false
        case (.v6(let a, let b), .v6(let c, let d)): (a, b) < (c, d)
        }
    }
}

extension IPAddress: CustomStringConvertible {
    /// Dotted decimal, or the canonical IPv6 form of RFC 5952.
    package var description: String {
        switch self {
        case .v4(let bits): Self.dotted(bits)
        case .v6(let high, let low):
            if let mapped = mappedV4 { "::ffff:" + Self.dotted(mapped) } else { Self.canonical(high, low) }
        }
    }

    private static func dotted(_ bits: UInt32) -> String {
        "\(bits >> 24).\(bits >> 16 & 0xff).\(bits >> 8 & 0xff).\(bits & 0xff)"
    }

    private static func canonical(_ high: UInt64, _ low: UInt64) -> String {
        let groups = [high, low].flatMap { half in
            [48, 32, 16, 0].map { UInt16(truncatingIfNeeded: half >> $0) }
        }
        let zeros = longestZeroRun(groups)
        func text(_ part: some Sequence<UInt16>) -> String {
            part.map { String($0, radix: 16) }.joined(separator: ":")
        }
        guard zeros.count > 1 else { return text(groups) }
        return text(groups[..<zeros.lowerBound]) + "::" + text(groups[zeros.upperBound...])
    }

    /// The first of the longest runs of zero groups; `::` replaces it when it is longer than one.
    private static func longestZeroRun(_ groups: [UInt16]) -> Range<Int> {
        var best = 0..<0
        var start = 0
        while start < groups.count {
            var end = start
            while end < groups.count, groups[end] == 0 { end += 1 }
            if end - start > best.count { best = start..<end }
            start = max(end, start + 1)
        }
        return best
    }
}

extension IPAddress {
    /// Reads dotted decimal or any IPv6 form of RFC 4291 (2.2); nil for names, zones, prefixes and brackets.
    package init?(text: some StringProtocol) {
        if text.contains(":") {
            guard let bits = Self.parseV6(Substring(text)) else { return nil }
            self = bits
        } else {
            guard let bits = Self.parseV4(Substring(text)) else { return nil }
            self = .v4(bits)
        }
    }

    private static func parseV4(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            // A leading zero means octal to some readers, so it is refused as inet_pton does.
            guard part.count <= 3, part.utf8.allSatisfy({ 48...57 ~= $0 }), part == "0" || part.first != "0",
                let byte = UInt8(part)
            else { return nil }
            bits = bits << 8 | UInt32(byte)
        }
        return bits
    }

    private static func parseV6(_ text: Substring) -> IPAddress? {
        var head: [UInt16] = []
        var tail: [UInt16] = []
        if let gap = firstDoubleColon(text) {
            guard let before = groups(text[..<gap.lowerBound], mayEndDotted: false),
                let after = groups(text[gap.upperBound...]),
                before.count + after.count <= 7
            else { return nil }
            (head, tail) = (before, after)
        } else {
            guard let all = groups(text), all.count == 8 else { return nil }
            head = all
        }
        let full = head + Array(repeating: 0, count: 8 - head.count - tail.count) + tail
        let halves = [full[..<4], full[4...]].map { $0.reduce(UInt64(0)) { $0 << 16 | UInt64($1) } }
        return .v6(halves[0], halves[1])
    }

    private static func firstDoubleColon(_ text: Substring) -> Range<Substring.Index>? {
        var index = text.startIndex
        while index < text.endIndex {
            let next = text.index(after: index)
            if next < text.endIndex, text[index] == ":", text[next] == ":" {
                return index..<text.index(after: next)
            }
            index = next
        }
        return nil
    }

    /// Colon-separated groups; an empty text has none. The last group of an address may be dotted decimal.
    private static func groups(_ text: Substring, mayEndDotted: Bool = true) -> [UInt16]? {
        guard !text.isEmpty else { return [] }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        var result: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if mayEndDotted, index == parts.count - 1, part.contains(".") {
                guard let bits = parseV4(part) else { return nil }
                result += [UInt16(bits >> 16), UInt16(bits & 0xffff)]
            } else {
                guard (1...4).contains(part.count), part.utf8.allSatisfy(isHexDigit),
                    let group = UInt16(part, radix: 16)
                else { return nil }
                result.append(group)
            }
        }
        return result
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        48...57 ~= byte || 65...70 ~= byte || 97...102 ~= byte
    }
}
