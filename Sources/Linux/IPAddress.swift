internal import Glibc

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

extension IPAddress {
    /// Reads 4 or 16 bytes in network order; nil for any other length.
    package init?(networkBytes bytes: some Sequence<UInt8>) {
        let all = Array(bytes)
        func number(_ part: ArraySlice<UInt8>) -> UInt64 { part.reduce(0) { $0 << 8 | UInt64($1) } }
        switch all.count {
        case 4: self = .v4(UInt32(truncatingIfNeeded: number(all[...])))
        case 16: self = .v6(number(all[..<8]), number(all[8...]))
        default: return nil
        }
    }

    /// Reads the kernel's form of an IPv4 address: 4 bytes in network order at the start of `bytes`.
    package init(v4At bytes: UnsafeRawBufferPointer) {
        self = .v4(UInt32(bigEndian: bytes.loadUnaligned(as: UInt32.self)))
    }

    /// Reads the kernel's form of an IPv6 address: 16 bytes in network order at the start of `bytes`.
    package init(v6At bytes: UnsafeRawBufferPointer) {
        self = .v6(
            UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
            UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
    }

    /// Writes the 4 or 16 bytes in network order to the start of `bytes`, which must have room for them.
    package func store(to bytes: UnsafeMutableRawBufferPointer) {
        switch self {
        case .v4(let bits): bytes.storeBytes(of: bits.bigEndian, as: UInt32.self)
        case .v6(let high, let low):
            bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
            bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
        }
    }

    /// 4 or 16 bytes in network order.
    package var networkBytes: [UInt8] {
        let size = isV6 ? 16 : 4
        return [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            store(to: UnsafeMutableRawBufferPointer(buffer))
            count = size
        }
    }
}

extension IPAddress: CustomStringConvertible {
    /// Dotted decimal, or the canonical IPv6 form of RFC 5952 (inet_ntop(3)).
    package var description: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { text in
            networkBytes.withUnsafeBytes { bytes in
                let family = isV6 ? AF_INET6 : AF_INET
                guard inet_ntop(family, bytes.baseAddress, text.baseAddress, socklen_t(text.count)) != nil
                else {
                    return "?"
                }
                return String(decoding: UnsafeRawBufferPointer(text).prefix { $0 != 0 }, as: UTF8.self)
            }
        }
    }
}

extension IPAddress {
    /// Reads dotted decimal or any IPv6 form of RFC 4291 (2.2), as inet_pton(3) does; nil for names, zones,
    /// prefixes and brackets.
    package init?(text: some StringProtocol) {
        guard !text.utf8.contains(0) else { return nil }
        let isV6 = text.contains(":")
        var bytes = [UInt8](repeating: 0, count: isV6 ? 16 : 4)
        guard inet_pton(isV6 ? AF_INET6 : AF_INET, String(text), &bytes) == 1 else { return nil }
        self.init(networkBytes: bytes)
    }
}
