/// How many rows, ports and processes a table of an agent can have.
package enum TableBounds {
    /// Whether a message, well-formed or not, has at most as many rows, ports and processes as a table can have.
    ///
    /// Walks the fields of the message itself (protobuf.dev, Encoding). What is no protobuf ends the walk; the decoder then
    /// says so.
    package static func areKept(_ message: UnsafeRawBufferPointer) -> Bool {
        var fields = WireFields(message)
        var (rows, ports, processes, others) = (0, 0, 0, 0)
        while let field = fields.next() {
            switch (field.number, field.payload) {
            case (1, let packed?): ports += packed.reduce(0) { $1 < 0x80 ? $0 + 1 : $0 }
            case (1, nil): ports += 1
            case (2, _): rows += 1
            case (7, let payload):
                processes += 1
                guard payload?.count ?? 0 <= AgentLimits.longestDescription else { return false }
            default: others += 1
            }
            guard rows <= AgentLimits.mostRows, ports <= AgentLimits.mostPorts,
                processes <= AgentLimits.mostDescribed, others <= AgentLimits.mostRows
            else {
                return false
            }
        }
        return true
    }
}

/// The fields of one protobuf message, without what is in them.
private struct WireFields {
    private let bytes: UnsafeRawBufferPointer
    private var place = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The next field, with its bytes if it has a length; nil at the end and at what is no field.
    mutating func next() -> (number: UInt64, payload: UnsafeRawBufferPointer?)? {
        guard let tag = varint() else { return nil }
        switch tag & 7 {
        case 0:
            guard varint() != nil else { return nil }
            return (tag >> 3, nil)
        case 1: return skip(8) ? (tag >> 3, nil) : nil
        case 5: return skip(4) ? (tag >> 3, nil) : nil
        case 2:
            guard let length = varint().flatMap(Int.init(exactly:)), length <= bytes.count - place else {
                return nil
            }
            defer { place += length }
            return (tag >> 3, UnsafeRawBufferPointer(rebasing: bytes[place..<place + length]))
        // The begin and end of a group, which no message of ours has; what is inside counts as fields.
        case 3, 4: return (tag >> 3, nil)
        default: return nil
        }
    }

    private mutating func skip(_ count: Int) -> Bool {
        guard count <= bytes.count - place else { return false }
        place += count
        return true
    }

    private mutating func varint() -> UInt64? {
        var (value, shift) = (UInt64(0), UInt64(0))
        while place < bytes.count, shift < 64 {
            let byte = bytes[place]
            place += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }
}
