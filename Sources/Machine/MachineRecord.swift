internal import FoundationEssentials

/// What is remembered about a machine between commands, as machine.json in its folder.
struct MachineRecord: Codable, Hashable, Sendable {
    /// libvirt's UUID of the domain.
    var uuid: String
    /// cloud-init's instance id: new for every fresh disk, so that first-boot work is done again.
    var instanceID: String
    /// The rum.toml it belongs to, as an absolute path.
    var configFile: String
    /// Why the last start chose what it did, for the user.
    var accelerator: String?
    var channel: String?
    /// The state of the base image when the disk was made on top of it.
    var base: BaseStamp?
    /// The format of the base image.
    var baseFormat: DiskImage.Info.Format?
    /// The libvirt that has the domain.
    var libvirtURI: String?
    /// What the user was told that rum.toml uses beyond its own folder.
    var reachTold: [String]?
    /// Whether the guest has turned out to have no driver for vsock.
    var lacksVsock: Bool?
    /// What the machine was made and started with; nil before its first start.
    var applied: AppliedSettings?

    /// A new machine's.
    init(configFile: String) {
        self.configFile = configFile
        uuid = UUID().uuidString.lowercased()
        instanceID = Self.newInstanceID()
    }

    static func newInstanceID() -> String { "rum-\(UUID().uuidString.lowercased())" }

    /// The record in `files`; nil when there is no machine yet.
    static func load(_ files: MachineFiles) throws(MachineError) -> MachineRecord? {
        guard files.exists else { return nil }
        try files.checkOwner()
        let text = try MachineFiles.read(files.record)
        do {
            return try JSONDecoder().decode(MachineRecord.self, from: Data(text.utf8))
        } catch {
            throw MachineError(
                .damaged, "\(files.record) is damaged",
                hint: "Run `rum destroy`, then `rum up` for a new machine.")
        }
    }

    /// The libvirt of a machine whose record may be damaged; nil when nothing trustworthy tells.
    static func libvirtURI(_ files: MachineFiles) -> String? {
        guard (try? files.checkOwner()) != nil else { return nil }
        return try? MachineFiles.read(files.libvirtURI)
    }

    func save(_ files: MachineFiles) throws(MachineError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        if let libvirtURI { try MachineFiles.write(Array(libvirtURI.utf8), to: files.libvirtURI) }
        do {
            try MachineFiles.write(Array(try encoder.encode(self)) + [10], to: files.record)
        } catch let error as MachineError {
            throw error
        } catch {
            throw MachineError(.files, "cannot encode \(files.record): \(error)", hint: "Report this.")
        }
    }
}
