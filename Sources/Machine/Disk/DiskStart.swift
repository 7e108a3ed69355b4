/// Tells from a disk's partition table which firmware can start it.
enum DiskStart {
    private static let efiSystem: [UInt8] = [
        0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b,
    ]
    private static let biosBoot: [UInt8] = [
        0x48, 0x61, 0x68, 0x21, 0x49, 0x64, 0x6f, 0x6e, 0x74, 0x4e, 0x65, 0x65, 0x64, 0x45, 0x46, 0x49,
    ]
    /// The partition table, with its usual 128 entries of 128 bytes.
    private static let sectors = 34

    /// Whether only UEFI can start the disk in the image at `path`, which was checked. `scratch` is a file to write to.
    static func needsEFI(
        _ path: String, format: DiskImage.Info.Format, scratch: String
    ) async throws(MachineError) -> Bool {
        try MachineFiles.remove(scratch)
        // qemu-img, since in a qcow2 file the disk's start may be anywhere, and compressed.
        try await Tool.qemuImg.output(of: [
            "dd", "-U", "-f", format.rawValue, "-O", "raw", "bs=512", "count=\(sectors)", "if=\(path)",
            "of=\(scratch)",
        ])
        let head = try ImageFile.head(of: scratch).bytes
        try MachineFiles.remove(scratch)
        return needsEFI(head)
    }

    /// Whether the disk that starts with `head` has an EFI system partition, and nothing that BIOS could start: with a GPT
    /// no BIOS boot partition for grub, with an MBR no code in it.
    static func needsEFI(_ head: [UInt8]) -> Bool {
        let fields = ByteFields(bytes: head)
        if fields.has("EFI PART", at: 512) {
            let entries = types(fields)
            return entries.contains(efiSystem) && !entries.contains(biosBoot)
        }
        guard fields.has([0x55, 0xaa], at: 510) else { return false }
        let types = stride(from: 446 + 4, to: 510, by: 16).map { head[$0] }
        return types.contains(0xef) && head[..<440].allSatisfy { $0 == 0 }
    }

    /// The types of a GPT's partitions (UEFI 2.10, 5.3).
    private static func types(_ fields: ByteFields) -> [[UInt8]] {
        guard let first = fields.littleEndian(512 + 72, as: UInt64.self), first < 1 << 16,
            let count = fields.littleEndian(512 + 80, as: UInt32.self),
            let size = fields.littleEndian(512 + 84, as: UInt32.self), (128...4096).contains(size)
        else { return [] }
        return (0..<min(Int(count), 128)).compactMap { index in
            let start = Int(first) * 512 + index * Int(size)
            guard start + 16 <= fields.bytes.count else { return nil }
            return Array(fields.bytes[start..<start + 16])
        }
    }
}
