/// The fields of one protobuf message, as its bytes have them (protobuf.dev, Encoding).
struct WireFields {
    enum Value {
        case number(UInt64)
        /// A text, bytes, a message or packed numbers.
        case piece(UnsafeRawBufferPointer)
        /// A number of four or eight bytes, which no message of ours has.
        case fixed
        /// The begin or end of a group, which no message of ours has; what is in it counts as fields.
        case group
    }

    private let bytes: UnsafeRawBufferPointer
    private var place = 0
    /// `next` has met what is no field.
    private(set) var isBroken = false

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { place == bytes.count }

    /// The next field; nil at the end, and from what is no field on.
    mutating func next() -> (number: UInt64, value: Value)? {
        guard !isAtEnd, !isBroken else { return nil }
        guard let tag = varint(mostBytes: 5), tag >> 3 > 0, tag <= UInt32.max,
            let value = value(ofKind: tag & 7)
        else {
            isBroken = true
            return nil
        }
        return (tag >> 3, value)
    }

    private mutating func value(ofKind kind: UInt64) -> Value? {
        switch kind {
        case 0: return varint().map { .number($0) }
        case 1: return skip(8)
        case 5: return skip(4)
        case 2:
            guard let length = varint().flatMap(Int.init(exactly:)), length <= bytes.count - place else {
                return nil
            }
            defer { place += length }
            return .piece(UnsafeRawBufferPointer(rebasing: bytes[place..<place + length]))
        case 3, 4: return .group
        default: return nil
        }
    }

    private mutating func skip(_ count: Int) -> Value? {
        guard count <= bytes.count - place else { return nil }
        place += count
        return .fixed
    }

    /// A number at this place. Ten bytes hold 64 bits. A tag has 32 and at most five bytes, padded ones too, as in other readers of
    /// protobuf.
    mutating func varint(mostBytes: UInt64 = 10) -> UInt64? {
        var (value, shift) = (UInt64(0), UInt64(0))
        while place < bytes.count, shift < 7 * mostBytes {
            let byte = bytes[place]
            place += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
