/// With what libvirt would emulate machines of one type.
struct EmulationOffer: Hashable, Sendable {
    /// The path of QEMU.
    var emulator: String
    /// Whether it can start machines by UEFI.
    var hasUEFI: Bool
}

extension EmulationOffer {
    /// As `capabilities` of a domain say, in libvirt's words.
    init(_ capabilities: String) {
        emulator = LiveXML.emulator(capabilities) ?? "unknown"
        hasUEFI = LiveXML.hasUEFI(capabilities)
    }
}
