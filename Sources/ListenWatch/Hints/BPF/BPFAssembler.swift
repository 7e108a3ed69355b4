/// Writes the instructions of a BPF program (include/uapi/linux/bpf.h, Documentation/bpf/standardization/instruction-set.rst).
struct BPFAssembler {
    /// r1 to r5 are arguments and lost in calls, r0 is a call's result, r6 to r9 stay, r10 is the end of the stack.
    enum Register: UInt8 { case r0, r1, r2, r3, r4, r5, r6, r7, r8, r9, stack }

    enum Width: UInt8 {
        case word = 0x00
        case double = 0x18
    }

    /// The kernel's functions for programs, by their numbers.
    enum Helper: Int32 {
        case perfEventOutput = 25
        case probeReadKernel = 113
    }

    private var instructions: [UInt64] = []
    private var exits: [Int] = []

    mutating func move(_ target: Register, _ source: Register) { emit(0xbf, target, source) }

    mutating func move(_ target: Register, _ value: Int32) { emit(0xb7, target, value: value) }

    /// Without the sign: the upper half of the register is zero.
    mutating func move(_ target: Register, unsigned value: UInt32) {
        emit(0xb4, target, value: Int32(bitPattern: value))
    }

    mutating func add(_ target: Register, _ value: Int32) { emit(0x07, target, value: value) }

    mutating func load(_ width: Width, _ target: Register, from base: Register, _ offset: Int16) {
        emit(0x61 | width.rawValue, target, base, offset: offset)
    }

    mutating func store(_ width: Width, _ base: Register, _ offset: Int16, value: Int32) {
        emit(0x62 | width.rawValue, base, offset: offset, value: value)
    }

    /// The address of a map, from its descriptor. Two instructions.
    mutating func loadMap(_ target: Register, _ descriptor: Int32) {
        // BPF_PSEUDO_MAP_FD in the place of a source.
        emit(0x18, target, .r1, value: descriptor)
        instructions.append(0)
    }

    mutating func call(_ helper: Helper) { emit(0x85, .r0, value: helper.rawValue) }

    /// Ends the program here unless the lower half of the register is this.
    mutating func endUnless(_ register: Register, is value: UInt32) {
        exits.append(instructions.count)
        emit(0x56, register, value: Int32(bitPattern: value))
    }

    /// The whole program, with an end that returns 0.
    consuming func finished() -> [UInt64] {
        for index in exits {
            // Counted from the next instruction.
            let distance = Int16(truncatingIfNeeded: instructions.count - index - 1)
            instructions[index] |= UInt64(UInt16(bitPattern: distance)) << 16
        }
        move(.r0, 0)
        emit(0x95, .r0)
        return instructions
    }

    private mutating func emit(
        _ code: UInt8, _ target: Register, _ source: Register = .r0, offset: Int16 = 0, value: Int32 = 0
    ) {
        instructions.append(
            UInt64(code) | UInt64(target.rawValue | source.rawValue << 4) << 8
                | UInt64(UInt16(bitPattern: offset)) << 16 | UInt64(UInt32(bitPattern: value)) << 32)
    }
}
