/// Writes a `GuestSeed` as the ISO 9660 image that cloud-init looks for: label CIDATA.
enum SeedImage {
    /// Makes the image at `path`, replacing what is there; `bundle` is the agent's archive.
    static func write(_ seed: GuestSeed, bundle: String, to path: String) async throws(MachineError) {
        let staging = path + ".d"
        try MachineFiles.remove(staging)
        try MachineFiles.makeDirectory(staging)
        for (name, content) in seed.files {
            try MachineFiles.write(Array(content.utf8), to: "\(staging)/\(name)")
        }
        let temporary = path + ".new"
        try MachineFiles.checkRoom(
            for: MachineFiles.size(of: bundle) + MachineLimits.seedFilesSize, at: temporary)
        try MachineFiles.write([], to: temporary)
        // The graft point puts the bundle in without a copy in the staging folder.
        let arguments = [
            "-quiet", "-V", "CIDATA", "-J", "-r", "-graft-points", "-o", temporary, "/=\(staging)",
            "/rum-agent.tar.gz=\(bundle)",
        ]
        do throws(MachineError) {
            try await Tool.xorriso.output(of: ["-as", "mkisofs"] + arguments)
        } catch {
            guard error.kind == .missingTool else { throw error }
            try await Tool.genisoimage.output(of: arguments)
        }
        try MachineFiles.move(temporary, to: path)
        try MachineFiles.remove(staging)
    }
}
