/// Tells whether the start of a raw file is that of a disk: it must have a partition table or a file system.
///
/// Every file passes for a raw disk with QEMU, the log-in page of a hotel's network as well; the guest then never
/// comes up, and nobody says why.
enum RawDisk {
    private static let sector: UInt64 = 512

    /// Throws unless `head`, the start of a file of `fileSize` bytes, is that of a whole disk.
    static func check(_ head: [UInt8], fileSize: UInt64) throws(ImageFault) {
        let fields = ByteFields(bytes: head)
        guard fileSize > 0, let needed = diskSize(fields) else {
            throw ImageFault("is not a disk image: it has neither a partition table nor a file system")
        }
        guard fileSize >= needed else { throw .truncated(needs: needed, has: fileSize) }
        guard fileSize % sector == 0 else {
            throw ImageFault(
                "is no whole number of sectors, so a part of it is missing", hint: "Fetch it again.")
        }
    }

    /// How many bytes the partition table or file system speaks of, at least; nil when there is neither.
    private static func diskSize(_ fields: ByteFields) -> UInt64? {
        guidPartitions(fields) ?? partitions(fields) ?? fileSystem(fields)
    }

    /// GPT: the header in sector 1 says where its copy lies, which is the last sector (UEFI 2.10, 5.3.2).
    private static func guidPartitions(_ fields: ByteFields) -> UInt64? {
        guard fields.has("EFI PART", at: 512), let last = fields.littleEndian(512 + 32, as: UInt64.self),
            last < UInt64.max / sector
        else { return nil }
        return (last + 1) * sector
    }

    /// MBR: four entries of 16 bytes before the signature; an entry is a status, a type, a first sector, and a count.
    private static func partitions(_ fields: ByteFields) -> UInt64? {
        guard fields.has([0x55, 0xaa], at: 510) else { return nil }
        var end: UInt64?
        for offset in stride(from: 446, to: 510, by: 16) {
            guard let status = fields.littleEndian(offset, as: UInt8.self), status & 0x7f == 0,
                let type = fields.littleEndian(offset + 4, as: UInt8.self),
                let first = fields.littleEndian(offset + 8, as: UInt32.self),
                let count = fields.littleEndian(offset + 12, as: UInt32.self)
            else { return nil }
            if type == 0 || count == 0 { continue }
            end = max(end ?? 0, (UInt64(first) + UInt64(count)) * sector)
        }
        return end
    }

    private struct Signature {
        let offset: Int
        let bytes: [UInt8]

        init(_ offset: Int, _ text: String) {
            self.offset = offset
            bytes = Array(text.utf8)
        }
        init(_ offset: Int, _ bytes: [UInt8]) {
            self.offset = offset
            self.bytes = bytes
        }
    }

    /// File systems that need no partition, and LVM and LUKS: where libblkid looks for them.
    private static let signatures = [
        Signature(0, "XFSB"), Signature(0x10040, "_BHRfS_M"), Signature(0, "hsqs"),
        Signature(0x8001, "CD001"),
        Signature(1024, [0x10, 0x20, 0xf5, 0xf2]), Signature(1024, [0xe2, 0xe1, 0xf5, 0xe0]),
        Signature(512, "LABELONE"), Signature(0, [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe]),
        Signature(54, "FAT1"), Signature(82, "FAT32"),
    ]

    private static func fileSystem(_ fields: ByteFields) -> UInt64? {
        // ext2 to ext4: the superblock at 1024 has the number of blocks and the binary logarithm of their KiB.
        if fields.has([0x53, 0xef], at: 1024 + 56),
            let blocks = fields.littleEndian(1024 + 4, as: UInt32.self),
            let size = fields.littleEndian(1024 + 24, as: UInt32.self), size <= 6
        {
            return UInt64(blocks) << (10 + UInt64(size))
        }
        return signatures.contains { fields.has($0.bytes, at: $0.offset) } ? 0 : nil
    }
}
