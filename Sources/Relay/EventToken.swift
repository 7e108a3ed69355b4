/// What an epoll event carries: which connection or listener it is for.
///
/// A connection's slot is used again; the generation tells a late event for its former user apart.
struct EventToken: Hashable {
    /// The loop's own eventfd.
    static let wake = EventToken(rawValue: .max)
    private static let listenerBit = UInt64(1) << 63

    let rawValue: UInt64

    init(rawValue: UInt64) { self.rawValue = rawValue }

    /// The local side of a connection.
    init(slot: Int, generation: UInt32) {
        rawValue = UInt64(slot) << 32 | UInt64(generation & 0x7fff_ffff) << 1
    }

    init(listener: UInt64) { rawValue = listener | Self.listenerBit }

    var listener: UInt64? { rawValue & Self.listenerBit != 0 ? rawValue & ~Self.listenerBit : nil }
    var slot: Int { Int(rawValue >> 32) }
    var isTunnelSide: Bool { rawValue & 1 != 0 }
    var localSide: EventToken { EventToken(rawValue: rawValue & ~1) }
    var tunnelSide: EventToken { EventToken(rawValue: rawValue | 1) }
}
