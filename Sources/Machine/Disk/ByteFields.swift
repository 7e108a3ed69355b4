/// Reads numbers at fixed offsets of a header; whatever lies beyond the end reads as nil.
struct ByteFields {
    let bytes: [UInt8]

    func bigEndian<Number: FixedWidthInteger>(_ offset: Int, as type: Number.Type = Number.self) -> Number? {
        number(offset, type).map(Number.init(bigEndian:))
    }

    func littleEndian<Number: FixedWidthInteger>(_ offset: Int, as type: Number.Type = Number.self) -> Number?
    {
        number(offset, type).map(Number.init(littleEndian:))
    }

    /// Whether `text` stands at `offset`.
    func has(_ text: String, at offset: Int) -> Bool {
        has(Array(text.utf8), at: offset)
    }

    func has(_ expected: [UInt8], at offset: Int) -> Bool {
        offset >= 0 && offset <= bytes.count && bytes[offset...].starts(with: expected)
    }

    private func number<Number: FixedWidthInteger>(_ offset: Int, _ type: Number.Type) -> Number? {
        let size = MemoryLayout<Number>.size
        guard offset >= 0, offset <= bytes.count - size else { return nil }
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: type) }
    }
}
