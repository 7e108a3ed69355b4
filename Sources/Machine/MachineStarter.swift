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

    /// Starts the machine and notes in `record` what was chosen.
    func start(_ record: inout MachineRecord) async throws(MachineError) {
        let facts = try await machine.hostFacts()
        let accelerator = Accelerator.choose(wanted: try wantedDomainType(), facts: facts)
        let channel = ChannelChoice.choose(wanted: config.advanced.channel, facts: facts)
        try checkInputs()
        if facts.isSystemDaemon { try await openToQEMU() }
        try await makeDisk(&record)
        let token = try makeToken()
        let keys = config.ssh.authorizedKeys + [try await machineKey()].compactMap { $0 }
        let bundleDigest = try await DiskImage.digest(machine.agentBundle)
        // The token and the record exist before the guest can: whoever finds the domain finds them too.
        try record.save(files)
        let attempt = Attempt(
            starter: self, record: record, token: token, authorizedKeys: keys, bundleDigest: bundleDigest)
        let chosen = try await attempt.run(accelerator, channel)
        record.accelerator = chosen.accelerator.reason
        record.channel = chosen.channel.reason
        try record.save(files)
    }

    // MARK: - Decisions

    private func wantedDomainType() throws(MachineError) -> MachineConfig.DomainType {
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

    // MARK: - Files

    private func checkInputs() throws(MachineError) {
        guard MachineFiles.exists(machine.agentBundle) else {
            throw MachineError(
                .files, "there is no agent bundle at \(machine.agentBundle)",
                hint: "Make it with `make bundle`.")
        }
        for path in [config.boot?.kernel, config.boot?.initrd].compactMap({ $0 })
        where access(path, R_OK) != 0 {
            throw MachineFiles.failure("read", path, .current("access"))
        }
    }

    /// QEMU may run as another user than this one: then the folders above its files must let that user through.
    private func openToQEMU() async throws(MachineError) {
        guard let user = try await hypervisor.qemuUser(), user != 0, user != geteuid() else { return }
        _ = chmod(files.directory, 0o711)
        var paths = [files.disk, config.boot?.kernel, config.boot?.initrd].compactMap { $0 }
        switch config.image?.base {
        case .path(let path)?: paths.append(path)
        case .url?: paths.append(files.cache + "/images/x")
        case nil: break
        }
        for path in paths {
            guard let folder = PathAccess.obstacle(on: path, for: user) else { continue }
            throw MachineError(
                .permission, "libvirt runs QEMU as user \(user), who may not enter \(folder)",
                hint:
                    "Allow it (setfacl -m u:\(user):x '\(folder)'), or place the machines with RUM_HOME and "
                    + "the images with RUM_CACHE where that user may go, such as /var/lib/rum.")
        }
    }

    private func makeDisk(_ record: inout MachineRecord) async throws(MachineError) {
        if MachineFiles.exists(files.disk) {
            try record.base?.check()
            // A guest that was saved goes on with the disk it knows.
            if try await !hypervisor.hasSavedState(machine.domain) { try await growDisk() }
        } else {
            try await replaceDisk(&record)
        }
    }

    /// Follows a larger `resources.disk`; a smaller one would cut off data, so it waits for the next reset.
    private func growDisk() async throws(MachineError) {
        let size = ByteSize(bytes: try DiskImage.virtualSize(ofDisk: files.disk))
        guard config.resources.disk > size else { return }
        progress(MachineStep("Growing the disk from \(size) to \(config.resources.disk)"))
        try await Tool.qemuImg.output(of: [
            "resize", "-q", "-f", "qcow2", files.disk, "\(config.resources.disk.bytes)",
        ])
    }

    /// Makes a fresh disk in place of the one there may be, which stays if anything fails.
    func replaceDisk(_ record: inout MachineRecord) async throws(MachineError) {
        guard let image = config.image else { return }
        let cache = ImageCache(directory: files.cache + "/images", progress: progress)
        let base = try await cache.resolve(image)
        progress(MachineStep("Creating a \(config.resources.disk) disk on top of \(base.path)"))
        let stamp = try BaseStamp(path: base.path)
        try await DiskImage.createOverlay(
            files.disk, base: base.path, baseInfo: base.info, size: config.resources.disk)
        record.base = stamp
        record.instanceID = MachineRecord.newInstanceID()
        // A start that is interrupted from here on must find the stamp of this disk, not of the one before.
        try record.save(files)
    }

    private func makeToken() throws(MachineError) -> MachineToken {
        if MachineFiles.exists(files.token) { return try files.readToken() }
        let token = MachineToken.random()
        try MachineFiles.write(Array((token.text + "\n").utf8), to: files.token)
        return token
    }

    /// The public half of the machine's own ssh key, made at the first start; nil where ssh is not installed.
    private func machineKey() async throws(MachineError) -> String? {
        if !MachineFiles.exists(files.sshKey) {
            do throws(MachineError) {
                try await Tool.sshKeygen.output(of: [
                    "-q", "-t", "ed25519", "-N", "", "-C", "rum", "-f", files.sshKey,
                ])
            } catch {
                if error.kind == .missingTool { return nil }
                throw error
            }
        }
        let line = try MachineFiles.read(files.sshKey + ".pub")
        return line.split(whereSeparator: \.isNewline).first.map(String.init)
    }
}

extension MachineStarter {
    /// The tries at starting one machine, each with another accelerator or channel.
    struct Attempt {
        let starter: MachineStarter
        let record: MachineRecord
        let token: MachineToken
        let authorizedKeys: [String]
        let bundleDigest: String

        private var machine: VirtualMachine { starter.machine }
        private var config: MachineConfig { starter.machine.config }

        /// Starts the machine; the choices with which it worked.
        func run(
            _ accelerator: Accelerator, _ channel: ChannelChoice
        ) async throws(MachineError) -> (accelerator: Accelerator, channel: ChannelChoice) {
            starter.progress(MachineStep("Preparing the guest's configuration"))
            let bundle = machine.agentBundle
            try await SeedImage.write(seed(channel), bundle: bundle, to: machine.files.seed)
            // Made here, so that this user can read what the daemon writes.
            try MachineFiles.write([], to: machine.files.consoleLog, mode: 0o600)
            try await machine.hypervisor.define(domainXML(accelerator, channel).document)
            let verb = try await machine.hypervisor.hasSavedState(machine.domain) ? "Restoring" : "Starting"
            starter.progress(MachineStep("\(verb) \(config.name) with \(accelerator.reason)"))
            guard let error = try await machine.hypervisor.start(machine.domain) else {
                return (accelerator, channel)
            }
            if channel.kind == .vsock, channel.mayFallBack, error.isUnsupported {
                return try await run(accelerator, .fallback(after: error.message))
            }
            if accelerator.mayFallBack { return try await run(.fallback(after: error.message), channel) }
            throw error.machineError(.startFailed, hint: hint(accelerator, channel))
        }

        private func hint(_ accelerator: Accelerator, _ channel: ChannelChoice) -> String {
            if channel.kind == .vsock, !channel.mayFallBack, HostFacts.probeVhostVsock() != nil {
                return "Load the module vhost_vsock (sudo modprobe vhost_vsock), or set channel = \"auto\"."
            }
            if accelerator.kind == .kvm { return "Set domain_type = \"auto\" to fall back to emulation." }
            return "Look at QEMU's log: \(machine.qemuLog)"
        }

        private func seed(_ channel: ChannelChoice) -> GuestSeed {
            GuestSeed(
                instanceID: record.instanceID, hostname: GuestSeed.hostname(for: config.name),
                user: config.ssh.user, authorizedKeys: authorizedKeys,
                listen: [channel.kind == .vsock ? "vsock" : "tcp:0.0.0.0:\(AgentPort.rpc.rawValue)"],
                token: token.text, bundleDigest: bundleDigest,
                systemScript: config.provision.system, bootScript: config.provision.boot)
        }

        private func domainXML(_ accelerator: Accelerator, _ channel: ChannelChoice) -> DomainXML {
            DomainXML(
                name: machine.domain, uuid: record.uuid, accelerator: accelerator.kind,
                machine: config.advanced.machine, cpus: config.resources.cpus,
                memoryMB: config.resources.memoryMB,
                kernel: config.boot.map {
                    DomainXML.Kernel(path: $0.kernel, initrd: $0.initrd, commandLine: $0.commandLine)
                },
                disk: config.image == nil ? nil : machine.files.disk, seed: machine.files.seed,
                consoleLog: machine.files.consoleLog, hasVsock: channel.kind == .vsock)
        }
    }
}
