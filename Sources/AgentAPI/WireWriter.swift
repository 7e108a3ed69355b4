/// Writes fields of protobuf messages (protobuf.dev, Encoding), in the order in which it is asked to. As proto3 wants it, a
/// number that is 0 and an empty text are left out.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    mutating func number(_ field: UInt8, _ value: UInt64) {
        if value == 0 { return }
        bytes.append(field << 3)
        varint(value)
    }

    mutating func text(_ field: UInt8, _ text: String) {
        if text.isEmpty { return }
        piece(field, Array(text.utf8))
    }

    /// A text, bytes, a message or packed numbers.
    mutating func piece(_ field: UInt8, _ piece: [UInt8]) {
        bytes.append(field << 3 | 2)
        varint(UInt64(piece.count))
        bytes += piece
    }

    mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
