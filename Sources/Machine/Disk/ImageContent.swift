/// What a file is, by its content. Its name tells nothing.
enum ImageContent: Hashable {
    case qcow2(Qcow2Header)
    case raw
    case packed(Packing)

    /// A file with one compressed file in it.
    enum Packing: Hashable, CaseIterable {
        case gzip, xz, zstd

        var magic: [UInt8] {
            switch self {
            case .gzip: [0x1f, 0x8b]
            case .xz: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]
            case .zstd: [0x28, 0xb5, 0x2f, 0xfd]
            }
        }

        /// What unpacks it, with `-dc`.
        var tool: Tool {
            switch self {
            case .gzip: .gzip
            case .xz: .xz
            case .zstd: .zstd
            }
        }
    }

    /// Tells what the file with `head` at its start and `fileSize` bytes is; throws for what no machine can start
    /// from.
    init(head: [UInt8], fileSize: UInt64) throws(ImageFault) {
        let fields = ByteFields(bytes: head)
        if fileSize == 0 { throw ImageFault("is empty", hint: "Fetch it again.") }
        if fields.has(Qcow2Header.magic, at: 0) {
            let header = try Qcow2Header(head)
            try header.checkUsable(fileSize: fileSize)
            self = .qcow2(header)
        } else if let packing = Packing.allCases.first(where: { fields.has($0.magic, at: 0) }) {
            self = .packed(packing)
        } else {
            try Self.refuseOthers(fields)
            try RawDisk.check(head, fileSize: fileSize)
            self = .raw
        }
    }

    /// Kinds that are worth a better word than "not a disk image".
    private static func refuseOthers(_ fields: ByteFields) throws(ImageFault) {
        for (name, offset, text) in foreignDisks where fields.has(text, at: offset) {
            throw ImageFault(
                "is \(name); qcow2 or raw was expected", hint: "Convert it: qemu-img convert -O qcow2 OLD NEW"
            )
        }
        for (name, offset, text) in archives where fields.has(text, at: offset) {
            throw ImageFault("is \(name)", hint: "Unpack it, and name the disk image that is in it.")
        }
        let start = String(decoding: fields.bytes.prefix(64), as: UTF8.self).lowercased()
        let word = start.drop { $0.isWhitespace || $0 == "\u{feff}" }
        if ["<!doctype", "<html", "<?xml", "<head", "<script"].contains(where: { word.hasPrefix($0) }) {
            throw ImageFault(
                "is a web page and not a disk image",
                hint: "Check the URL; the log-in page of this network may have answered in its place.")
        }
    }

    private static let foreignDisks = [
        ("vmdk", 0, "KDMV"), ("vmdk", 0, "# Disk DescriptorFile"), ("vhdx", 0, "vhdxfile"),
        ("vhd", 0, "conectix"), ("vdi", 0, "<<< "), ("qed", 0, "QED\0"),
        ("parallels", 0, "WithoutFreeSpace"), ("parallels", 0, "WithouFreSpacExt"),
    ]

    private static let archives = [
        ("a tar archive", 257, "ustar"), ("a zip archive", 0, "PK\u{3}\u{4}"),
        ("a 7z archive", 0, "7z"), ("compressed with bzip2", 0, "BZh"),
        ("compressed with lzip", 0, "LZIP"),
    ]
}
