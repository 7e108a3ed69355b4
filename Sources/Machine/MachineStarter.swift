internal import AgentChannel
internal import Glibc
internal import Linux
internal import RumConfig

/// Starts a stopped machine: completes its files, tells libvirt about it, and falls back where it may.
struct MachineStarter {
    let machine: VirtualMachine
    let progress: MachineProgress

    private var config: MachineConfig { machine.config }
    private var files: MachineFiles { machine.files }
    private var hypervisor: Hypervisor { machine.hypervisor }
    var disk: RootDisk {
        let mirror = machine.environment["RUM_IMAGE_MIRROR"].flatMap { $0.isEmpty ? nil : $0 }
        return RootDisk(config: config, files: files, progress: progress, mirror: mirror)
    }

    /// Throws for what stops a start whatever becomes of the disk. Called before anything is given up for it.
    func check() async throws(MachineError) {
        _ = try wantedDomainType()
        try checkInputs()
        try await checkTools()
        _ = try HostFolder.all(config)
    }

    /// Starts the machine and notes in `record` what was chosen.
    func start(_ record: inout MachineRecord) async throws(MachineError) {
        let facts = try await machine.hostFacts()
        try await check()
        let accelerator = Accelerator.choose(wanted: try wantedDomainType(), facts: facts)
        let channel = ChannelChoice.choose(wanted: config.advanced.channel, facts: facts)
        if facts.isSystemDaemon { try await openToQEMU(record) }
        let folders = try HostFolder.all(config)
        let driver = folders.isEmpty ? nil : try await machine.mountDriver()
        tellMounts(folders, driver)
        try await makeDisk(&record)
        let isEFI = try await needsEFI(record)
        let kernel = try await kernel(isCopied: facts.isSystemDaemon)
        let token = try makeToken()
        let keys = try await SSHKeys.complete(files, machine: config.name)
        let bundleDigest = try await ImageDigest.digits(of: machine.agentBundle)
        // The token and the record exist before the guest can: whoever finds the domain finds them too.
        try record.save(files)
        try keepLastConsole()
        let attempt = StartAttempt(
            machine: machine, progress: progress, record: record, kernel: kernel, token: token,
            keys: keys, bundleDigest: bundleDigest, folders: folders, isEFI: isEFI)
        let chosen = try await attempt.run(accelerator, channel, driver)
        record.accelerator = chosen.accelerator.reason
        record.channel = chosen.channel.reason
        // A new kernel may have it.
        record.lacksVsock = nil
        try record.save(files)
    }

    // MARK: - Decisions

    func wantedDomainType() throws(MachineError) -> MachineConfig.DomainType {
        guard let text = machine.environment["RUM_DOMAIN_TYPE"], !text.isEmpty else {
            return config.advanced.domainType
        }
        guard let type = MachineConfig.DomainType(rawValue: text) else {
            throw MachineError(
                .conflict, "RUM_DOMAIN_TYPE is \"\(text)\"; auto, kvm or qemu was expected",
                hint: "Correct or unset the variable.")
        }
        return type
    }

    /// Says what the owners and rights in the folders will not be as asked for.
    private func tellMounts(_ folders: [HostFolder], _ driver: MountDriver?) {
        if driver?.keepsReadOnly == false, folders.contains(where: \.mount.isReadOnly) {
            progress(
                MachineStep(
                    "This libvirt cannot make virtiofs refuse to write: root in the guest can undo `readonly`"
                ))
        }
        if HostFolder.guestUserID(folders) == nil, config.ssh.user != "root",
            let folder = folders.first(where: { $0.owner == 0 && !$0.mount.isReadOnly })
        {
            progress(
                MachineStep(
                    "\(folder.path) belongs to root, so \(config.ssh.user) in the guest may only read it, unless by sudo"
                ))
        }
    }

    /// Whether UEFI has to start the machine's disk.
    private func needsEFI(_ record: MachineRecord) async throws(MachineError) -> Bool {
        switch config.firmware {
        case .bios: return false
        case .efi: return true
        case .auto:
            guard config.boot == nil, let base = record.base, let format = record.baseFormat else {
                return false
            }
            guard
                try await DiskStart.needsEFI(
                    base.path, format: format, scratch: files.directory + "/start.raw")
            else { return false }
            progress(
                MachineStep("Booting by UEFI, since the image has an EFI system partition and no other start")
            )
            return true
        }
    }

    // MARK: - Files

    static let bundleHint =
        "Install it beside rum (`make install` does), make it with `make bundle`, or name one with RUM_AGENT_BUNDLE."

    private func checkInputs() throws(MachineError) {
        guard MachineFiles.exists(machine.agentBundle) else {
            throw MachineError(
                .files, "there is no agent bundle at \(machine.agentBundle)",
                hint: Self.bundleHint)
        }
        for path in [config.boot?.kernel, config.boot?.initrd].compactMap({ $0 }) {
            guard access(path, R_OK) == 0 else {
                let error = MachineFiles.failure("read", path, .current("access"))
                throw MachineError(error.kind, error.message, hint: "Correct boot.kernel and boot.initrd.")
            }
            // A pipe or a device would never end.
            guard MachineFiles.isRegular(path) else {
                throw MachineError(
                    .files, "\(path) is no regular file", hint: "Correct boot.kernel and boot.initrd.")
            }
        }
    }

    /// Throws with all programs that are missing, before a download that would be in vain without them.
    private func checkTools() async throws(MachineError) {
        let missing = await Tool.missing(of: Tool.needed(for: config))
        guard let first = missing.first else { return }
        let names = missing.map(\.name).joined(separator: ", ")
        throw MachineError(
            .missingTool,
            missing.count == 1 ? "\(first.name) is not installed" : "\(names) are not installed",
            hint: "On Debian: apt install \(missing.map(\.package).joined(separator: " "))")
    }

    /// QEMU may run as another user than this one: then that user must be let through to its files, of which rum
    /// opens its own and leaves the user's alone.
    private func openToQEMU(_ record: MachineRecord) async throws(MachineError) {
        guard let user = try await hypervisor.qemuUser(), user != 0, user != geteuid() else { return }
        _ = chmod(files.directory, 0o711)
        var paths = [files.directory + "/x"]
        if let base = record.base {
            paths.append(base.path)
        } else if case .path(let path)? = config.image?.base {
            paths.append(path)
        }
        let obstacles = PathAccess.obstacles(on: paths, for: user)
        let mine = obstacles.filter(\.isMine)
        let cures = obstacles.map { $0.cure(for: user) }
        if mine.count == obstacles.count, await Tool.setfacl.isInstalled {
            for obstacle in mine {
                progress(
                    MachineStep(
                        "Letting libvirt's user \(user) \(obstacle.verb) \(obstacle.path) (\(obstacle.cure(for: user)))"
                    ))
                try await Tool.setfacl.output(of: obstacle.arguments(for: user))
            }
            return
        }
        guard !obstacles.isEmpty else { return }
        let names = obstacles.map(\.path).joined(separator: " and ")
        let isMissing = await !Tool.setfacl.isInstalled
        throw MachineError(
            .permission, "libvirt runs QEMU as user \(user), who may not use \(names)",
            hint: """
                Allow it (\(isMissing ? "apt install acl; " : "")\(cures.joined(separator: "; "))), or place the machines with \
                RUM_HOME and the images where that user may go.
                """)
    }

    private func makeDisk(_ record: inout MachineRecord) async throws(MachineError) {
        guard config.image != nil else { return }
        guard MachineFiles.exists(files.disk) else { return try await disk.replace(&record) }
        try record.base?.check()
        try await checkSnapshot()
        // A guest that was saved goes on with the disk it knows.
        if try await !hypervisor.hasSavedState(machine.domain) { try await disk.grow() }
    }

    /// Throws when the machine goes on in another file, as after an external snapshot: that holds what was written since,
    /// and would be of no use any more once the disk below it is written to.
    private func checkSnapshot() async throws(MachineError) {
        guard let domain = try await hypervisor.xml(of: machine.domain),
            let current = LiveXML.diskFile("vda", of: domain), current != XMLElement.escape(files.disk),
            // The folder may have been named in another way, such as through a link.
            !MachineFiles.areSame(current, files.disk)
        else { return }
        // Without a base it would be merged into the image that the machine's disk stands on.
        throw MachineError(
            .conflict, "\(machine.domain) of libvirt has its disk in \(current), as after a snapshot",
            hint: """
                Merge it into the machine's own disk: \(machine.virsh) start \(machine.domain), then \(machine.virsh) blockcommit \
                \(machine.domain) vda --base '\(files.disk)' --active --pivot --wait. Or start from a fresh disk: `rum up --reset`.
                """)
    }

    /// The kernel to boot. libvirt's system daemon changes the owner of a kernel that it starts, and does not give it
    /// back to the one before, so it gets copies.
    private func kernel(isCopied: Bool) async throws(MachineError) -> DomainXML.Kernel? {
        guard let boot = config.boot else { return nil }
        var kernel = DomainXML.Kernel(
            path: boot.kernel, initrd: boot.initrd, commandLine: boot.commandLine)
        guard isCopied else { return kernel }
        kernel.path = files.directory + "/kernel"
        try await MachineFiles.copy(boot.kernel, to: kernel.path)
        if let initrd = boot.initrd {
            let copy = files.directory + "/initrd"
            try await MachineFiles.copy(initrd, to: copy)
            kernel.initrd = copy
        }
        return kernel
    }

    /// The consoles of the runs before, which may tell why one crashed: each moves one place on, the oldest goes.
    private func keepLastConsole() throws(MachineError) {
        guard MachineFiles.size(of: files.consoleLog) > 0 else { return }
        var place = files.earlierConsoleLogs[...]
        while let oldest = place.popLast() {
            let newer = place.last ?? files.consoleLog
            if MachineFiles.exists(newer) { try MachineFiles.move(newer, to: oldest) }
        }
    }

    private func makeToken() throws(MachineError) -> MachineToken {
        if MachineFiles.exists(files.token) { return try files.readToken() }
        let token = MachineToken.random()
        try MachineFiles.write(Array((token.text + "\n").utf8), to: files.token)
        return token
    }
}
