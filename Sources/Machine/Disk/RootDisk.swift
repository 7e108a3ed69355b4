internal import RumConfig

/// The disk of a machine: a layer on top of its base image.
struct RootDisk {
    let config: MachineConfig
    let files: MachineFiles
    let progress: MachineProgress
    /// RUM_IMAGE_MIRROR.
    var mirror: String?

    /// Follows a larger `resources.disk`; a smaller one would cut off data, so it waits for the next reset.
    func grow() async throws(MachineError) {
        let size = ByteSize(bytes: try DiskImage.virtualSize(ofDisk: files.disk))
        guard config.resources.disk > size else { return }
        progress(MachineStep("Growing the disk from \(size) to \(config.resources.disk)"))
        try await Tool.qemuImg.output(of: [
            "resize", "-q", "-f", "qcow2", files.disk, "\(config.resources.disk.bytes)",
        ])
    }

    /// Makes a fresh disk in place of the one there may be, which stays if anything fails.
    func replace(_ record: inout MachineRecord) async throws(MachineError) {
        guard let image = config.image else { return }
        let instanceID = MachineRecord.newInstanceID()
        do throws(MachineError) {
            try await replace(&record, image, instanceID)
        } catch {
            // Of no use to any disk, and the reason may be that there is too little room. Only this one: a record may not know
            // what the disk that stays stands on.
            let base = basePath(instanceID)
            if record.base?.path != base {
                for path in [base, base + ".new"] { try? MachineFiles.remove(path) }
            }
            throw error
        }
        try removeBases(except: record.base?.path)
    }

    private func replace(
        _ record: inout MachineRecord, _ image: MachineConfig.Image, _ instanceID: String
    ) async throws(MachineError) {
        let cache = ImageCache(
            directory: files.cache + "/images", progress: progress, mirror: mirror)
        let base = try await own(try await cache.resolve(image), for: instanceID)
        progress(MachineStep("Creating a \(config.resources.disk) disk on top of \(base.path)"))
        let stamp = try BaseStamp(path: base.path)
        try await DiskImage.createOverlay(
            files.disk, base: base.path, baseInfo: base.info, size: config.resources.disk)
        record.base = stamp
        record.baseFormat = base.info.format
        record.instanceID = instanceID
        record.applied = AppliedSettings(config)
        // A start that is interrupted from here on must find the stamp of this disk, not of the one before.
        try record.save(files)
    }

    /// Removes what other disks stand on than the new one: the one before, and those that killed commands have not made.
    private func removeBases(except path: String?) throws(MachineError) {
        for name in MachineFiles.names(in: files.directory) where name.hasPrefix(Self.basePrefix) {
            let base = "\(files.directory)/\(name)"
            if base != path { try MachineFiles.remove(base) }
        }
    }

    private static let basePrefix = "base-"

    private func basePath(_ instanceID: String) -> String {
        "\(files.directory)/\(Self.basePrefix)\(instanceID).img"
    }

    /// Puts a cached image into the machine's folder: what a disk stands on is data, and the cache may be cleared at
    /// any time. It is a second name of the same file where both are on one file system.
    private func own(_ base: ImageCache.Base, for instanceID: String) async throws(MachineError)
        -> ImageCache.Base
    {
        guard base.isCached else { return base }
        let path = basePath(instanceID)
        try await MachineFiles.link(base.path, to: path)
        return ImageCache.Base(path: path, info: base.info, isCached: true)
    }
}
