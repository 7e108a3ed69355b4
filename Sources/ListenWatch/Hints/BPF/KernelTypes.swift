/// What the running kernel says of its functions and structures, in its own format (BTF, Documentation/bpf/btf.rst): as much as
/// a program at one of its functions needs to know.
///
/// Read here and not by libbpf: the agent is a bundle that must run on any guest, and this is all that it would need of it. The
/// bytes may be anything: what they say is either within them or an error.
struct KernelTypes {
    struct Function: Equatable {
        /// What BPF_PROG_LOAD takes as `attach_btf_id`.
        var id: UInt32
        var parameterCount: Int
    }

    /// The numbers that the format gives to what this reader tells apart (include/uapi/linux/btf.h).
    private enum Kind: UInt32 {
        case integer = 1
        case pointer, array, structure, union, enumeration, forward, typeName, volatile, constant, restrict
        case function, prototype, variable, section, float, declarationTag, typeTag, enumeration64

        /// How many bytes follow the type's own twelve, of which `count` describe parts.
        func trailing(_ count: Int) -> Int {
            switch self {
            case .integer, .variable, .declarationTag: 4
            case .array: 12
            case .structure, .union, .section, .enumeration64: 12 * count
            case .enumeration, .prototype: 8 * count
            case .pointer, .forward, .typeName, .volatile, .constant, .restrict, .function, .float, .typeTag:
                0
            }
        }
    }

    private struct Entry {
        var start: Int
        var name: UInt32
        var kind: Kind
        /// Of its members, parameters or values.
        var count: Int
        /// Whether the places of its members carry the size of a bit-field.
        var hasBitFields: Bool
        /// Its size in bytes, or the number of the type that it leads to.
        var sizeOrType: UInt32

        var members: Int { start + 12 }
        var end: Int { members + kind.trailing(count) }
    }

    /// Types are found by their number only by going through those before: from the nearest of these places.
    private static let stride = 64
    /// How many members are looked at for one field, and how deep within what has no name, whatever the bytes say.
    private static let (patience, depth) = (100_000, 16)

    private let bytes: UnsafeRawBufferPointer
    private let types: Range<Int>
    private let strings: Range<Int>
    private var marks: [Int] = []
    private var functions: [String: UInt32] = [:]
    private var structures: [String: UInt32] = [:]

    /// Goes through all types once and notes those with these names. `bytes` must stay where they are while this value is used.
    init(
        _ bytes: UnsafeRawBufferPointer, functions wantedFunctions: [String],
        structures wantedStructures: [String]
    ) throws(KernelTypesError) {
        self.bytes = bytes
        (types, strings) = try Self.sections(bytes)
        var place = types.lowerBound
        var number: UInt32 = 1
        let (functionNames, structureNames) = (
            wantedFunctions.map(\.utf8CString), wantedStructures.map(\.utf8CString)
        )
        while place < types.upperBound {
            if (number - 1) % UInt32(Self.stride) == 0 { marks.append(place) }
            let entry = try entry(at: place)
            let names =
                entry.kind == .function ? functionNames : entry.kind == .structure ? structureNames : []
            for (index, name) in names.enumerated() where isNamed(entry.name, name) {
                if entry.kind == .function {
                    functions[wantedFunctions[index]] = number
                } else {
                    structures[wantedStructures[index]] = number
                }
            }
            place = entry.end
            number += 1
        }
    }

    func function(_ name: String) throws(KernelTypesError) -> Function {
        guard let id = functions[name] else {
            throw KernelTypesError(description: "there is no function \(name)")
        }
        let prototype = try entry(number: try entry(number: id).sizeOrType)
        guard prototype.kind == .prototype else { throw .malformed }
        return Function(id: id, parameterCount: prototype.count)
    }

    /// How many bytes into a structure a field lies, which `path` leads to through structures within it, and through what has
    /// no name of its own. It must have that size.
    func offset(of path: [String], in structure: String, size: UInt32) throws(KernelTypesError) -> Int32 {
        guard var type = structures[structure] else {
            throw KernelTypesError(description: "there is no structure \(structure)")
        }
        var bits = 0
        for name in path {
            var patience = Self.patience
            guard let member = try member(name.utf8CString, of: type, depth: Self.depth, &patience)
            else {
                throw KernelTypesError(description: "\(structure) has no \(path.joined(separator: "."))")
            }
            bits += member.bits
            type = member.type
        }
        guard bits % 8 == 0, try self.size(of: type) == size, let offset = Int32(exactly: bits / 8) else {
            throw KernelTypesError(
                description: "\(structure) has another \(path.joined(separator: ".")) than known")
        }
        return offset
    }

    private func member(
        _ name: ContiguousArray<CChar>, of type: UInt32, depth: Int, _ patience: inout Int
    ) throws(KernelTypesError) -> (bits: Int, type: UInt32)? {
        let whole = try plain(type)
        guard whole.kind == .structure || whole.kind == .union else { return nil }
        for index in 0..<whole.count {
            guard patience > 0, depth > 0 else { throw .malformed }
            patience -= 1
            let place = whole.members + 12 * index
            let (label, type, raw) = (try word(place), try word(place + 4), try word(place + 8))
            let bits = Int(whole.hasBitFields ? raw & 0xff_ffff : raw)
            if isNamed(label, name) {
                guard !whole.hasBitFields || raw >> 24 == 0 else { return nil }
                return (bits, type)
            }
            if isNamed(label, [0]), let inner = try member(name, of: type, depth: depth - 1, &patience) {
                return (bits + inner.bits, inner.type)
            }
        }
        return nil
    }

    private func size(of type: UInt32) throws(KernelTypesError) -> UInt32? {
        let entry = try plain(type)
        switch entry.kind {
        case .integer, .structure, .union, .enumeration: return entry.sizeOrType
        case .pointer: return 8
        default: return nil
        }
    }

    /// The type behind names and qualifiers.
    private func plain(_ type: UInt32) throws(KernelTypesError) -> Entry {
        var entry = try entry(number: type)
        for _ in 0..<32 {
            switch entry.kind {
            case .typeName, .volatile, .constant, .restrict, .typeTag:
                entry = try self.entry(number: entry.sizeOrType)
            default: return entry
            }
        }
        throw .malformed
    }

    /// 1 is the first; 0 stands for void.
    private func entry(number: UInt32) throws(KernelTypesError) -> Entry {
        guard number > 0 else { throw .malformed }
        let (mark, rest) = Int(number - 1).quotientAndRemainder(dividingBy: Self.stride)
        guard mark < marks.count else { throw .malformed }
        var place = marks[mark]
        for _ in 0..<rest { place = try entry(at: place).end }
        return try entry(at: place)
    }

    private func entry(at place: Int) throws(KernelTypesError) -> Entry {
        guard place <= types.upperBound - 12 else { throw .malformed }
        let info = try word(place + 4)
        guard let kind = Kind(rawValue: info >> 24 & 0x1f) else { throw .malformed }
        let entry = Entry(
            start: place, name: try word(place), kind: kind, count: Int(info & 0xffff),
            hasBitFields: info >> 31 == 1, sizeOrType: try word(place + 8))
        guard entry.end <= types.upperBound else { throw .malformed }
        return entry
    }

    /// Whether the string at `offset` is this one, with its zero at the end.
    private func isNamed(_ offset: UInt32, _ name: ContiguousArray<CChar>) -> Bool {
        let start = strings.lowerBound + Int(offset)
        guard start + name.count <= strings.upperBound else { return false }
        for (index, byte) in name.enumerated() where bytes[start + index] != UInt8(bitPattern: byte) {
            return false
        }
        return true
    }

    private func word(_ place: Int) throws(KernelTypesError) -> UInt32 { try Self.word(place, in: bytes) }

    private static func word(_ place: Int, in bytes: UnsafeRawBufferPointer) throws(KernelTypesError)
        -> UInt32
    {
        guard place >= 0, place <= bytes.count - 4 else { throw .malformed }
        return bytes.loadUnaligned(fromByteOffset: place, as: UInt32.self)
    }

    /// Where types and strings are (struct btf_header).
    private static func sections(
        _ bytes: UnsafeRawBufferPointer
    ) throws(KernelTypesError) -> (types: Range<Int>, strings: Range<Int>) {
        // Magic number, version 1, no flags.
        guard try word(0, in: bytes) == 0x0001_eb9f else { throw .malformed }
        let header = Int(try word(4, in: bytes))
        func section(_ place: Int) throws(KernelTypesError) -> Range<Int> {
            let start = header + Int(try word(place, in: bytes))
            let end = start + Int(try word(place + 4, in: bytes))
            guard end <= bytes.count else { throw .malformed }
            return start..<end
        }
        return (try section(8), try section(16))
    }
}

/// What a kernel says of its types is not there, not as expected, or no such thing at all.
struct KernelTypesError: Error, Equatable, CustomStringConvertible {
    static let malformed = KernelTypesError(
        description: "the kernel's description of its types is not understood")

    var description: String
}
