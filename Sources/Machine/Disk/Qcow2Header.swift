/// The header of a qcow2 image (QEMU, docs/interop/qcow2.txt), read here rather than by QEMU.
///
/// A qcow2 file may name other files of the host, and QEMU opens whatever is named, with the rights of the user:
/// the guest then reads it as its disk. So what a header names is known before any program of QEMU sees the file.
struct Qcow2Header: Hashable {
    static let magic: [UInt8] = [0x51, 0x46, 0x49, 0xfb]

    /// The size of the disk that the guest sees.
    let virtualSize: UInt64
    /// The image holds only the differences from another file.
    let hasBackingFile: Bool
    /// The guest's data lies in another file.
    let hasDataFile: Bool
    let isEncrypted: Bool
    /// QEMU itself has marked it so.
    let isCorrupt: Bool
    /// The first byte after the tables that the header points to.
    let tablesEnd: UInt64

    private static let corruptBit: UInt64 = 1 << 1
    private static let dataFileBit: UInt64 = 1 << 2
    /// dirty, corrupt, data file, compression type, extended L2 entries.
    private static let knownBits: UInt64 = 0b11111
    private static let dataFileExtension: UInt32 = 0x4441_5441
    /// The header of version 2, which ends before the feature bits.
    private static let lengthOfVersion2 = 72

    /// Reads the header at the start of `head`, which should hold the first cluster or 64 KiB of it.
    init(_ head: [UInt8]) throws(ImageFault) {
        let fields = ByteFields(bytes: head)
        guard fields.has(Self.magic, at: 0), let version = fields.bigEndian(4, as: UInt32.self) else {
            throw ImageFault("is not a qcow2 file")
        }
        guard version == 2 || version == 3 else {
            throw ImageFault(
                "is of version \(version) of qcow; 2 or 3 was expected",
                hint: "Convert it: qemu-img convert -O qcow2 OLD NEW")
        }
        guard let backingOffset = fields.bigEndian(8, as: UInt64.self),
            let clusterBits = fields.bigEndian(20, as: UInt32.self), (9...21).contains(clusterBits),
            let size = fields.bigEndian(24, as: UInt64.self), size > 0, size <= UInt64(Int64.max),
            let encryption = fields.bigEndian(32, as: UInt32.self),
            let tablesEnd = Self.tablesEnd(fields, clusterSize: 1 << UInt64(clusterBits))
        else { throw Self.damaged }
        var features: UInt64 = 0
        var length = Self.lengthOfVersion2
        if version == 3 {
            guard let bits = fields.bigEndian(72, as: UInt64.self),
                let given = fields.bigEndian(100, as: UInt32.self), given >= 104, given <= 1 << clusterBits
            else { throw Self.damaged }
            features = bits
            length = Int(given)
        }
        guard features & ~Self.knownBits == 0 else {
            throw ImageFault(
                "uses features of qcow2 that rum does not know", hint: "Convert it to plain qcow2.")
        }
        virtualSize = size
        hasBackingFile = backingOffset != 0
        let extensions = try Self.extensions(fields, from: length)
        hasDataFile = features & Self.dataFileBit != 0 || extensions.contains(Self.dataFileExtension)
        isEncrypted = encryption != 0
        isCorrupt = features & Self.corruptBit != 0
        self.tablesEnd = tablesEnd
    }

    private static let damaged = ImageFault("has a damaged qcow2 header", hint: "Fetch it again.")

    /// The types of the header extensions: pairs of type and length, each followed by its data, up to type 0.
    private static func extensions(_ fields: ByteFields, from start: Int) throws(ImageFault) -> [UInt32] {
        var types: [UInt32] = []
        var offset = start
        while offset < fields.bytes.count {
            guard let type = fields.bigEndian(offset, as: UInt32.self),
                let length = fields.bigEndian(offset + 4, as: UInt32.self), length <= 1 << 21
            else { throw damaged }
            if type == 0 { return types }
            types.append(type)
            // The data is padded to a multiple of 8 bytes.
            offset += 8 + (Int(length) + 7) / 8 * 8
        }
        // An area that goes on beyond what was read could hide a name.
        throw damaged
    }

    /// Where the L1 table and the refcount table end; nil when that is no number.
    private static func tablesEnd(_ fields: ByteFields, clusterSize: UInt64) -> UInt64? {
        guard let levelOneSize = fields.bigEndian(36, as: UInt32.self),
            let levelOne = fields.bigEndian(40, as: UInt64.self),
            let refcounts = fields.bigEndian(48, as: UInt64.self),
            let refcountClusters = fields.bigEndian(56, as: UInt32.self)
        else { return nil }
        let (first, isFirstTooLarge) = levelOne.addingReportingOverflow(UInt64(levelOneSize) * 8)
        let (second, isSecondTooLarge) = refcounts.addingReportingOverflow(
            UInt64(refcountClusters) * clusterSize)
        return isFirstTooLarge || isSecondTooLarge ? nil : max(first, second)
    }

    /// Throws unless the image is whole and names no other file.
    func checkUsable(fileSize: UInt64) throws(ImageFault) {
        if hasBackingFile {
            throw ImageFault(
                "is only a layer on top of another file, which rum does not follow",
                hint: "Make one file of both: qemu-img convert -O qcow2 LAYER IMAGE")
        }
        if hasDataFile {
            throw ImageFault(
                "keeps its data in another file, which rum does not follow",
                hint: "Make one file of both: qemu-img convert -O qcow2 OLD NEW")
        }
        if isEncrypted {
            throw ImageFault(
                "is encrypted",
                hint: "Make a plain one of it: qemu-img convert, with the secret as qemu-img(1) tells")
        }
        if isCorrupt { throw ImageFault("is marked as corrupt by QEMU", hint: "Fetch it again.") }
        if tablesEnd > fileSize { throw .truncated(needs: tablesEnd, has: fileSize) }
    }
}
