internal import AgentChannel
internal import Linux
internal import RumConfig

/// The tries at starting one machine, each with another accelerator or channel.
struct StartAttempt {
    let machine: VirtualMachine
    let progress: MachineProgress
    let record: MachineRecord
    let kernel: DomainXML.Kernel?
    let token: MachineToken
    /// nil where OpenSSH is not installed.
    let keys: SSHKeys?
    let bundleDigest: String
    var folders: [HostFolder] = []
    var isEFI = false

    private var config: MachineConfig { machine.config }

    /// Starts the machine; the choices with which it worked.
    ///
    /// Another try follows only an error that says that this host lacks KVM or vsock: any other one would come again,
    /// and be harder to understand.
    func run(
        _ accelerator: Accelerator, _ channel: ChannelChoice, _ driver: MountDriver? = nil
    ) async throws(MachineError) -> (accelerator: Accelerator, channel: ChannelChoice) {
        let isSaved = try await machine.hypervisor.hasSavedState(machine.domain)
        // A guest that was saved has parts of its seed in its page cache, which would not go with another.
        if !isSaved || !MachineFiles.exists(machine.files.seed) { try await writeSeed(channel, driver) }
        // Made here, so that this user can read what the daemon writes.
        try MachineFiles.write([], to: machine.files.consoleLog, mode: 0o600)
        try MachineError.checkInterruption()
        try await machine.hypervisor.define(
            domainXML(accelerator, channel, driver).document, hint: definitionHint(after:))
        let verb = isSaved ? "Restoring" : "Starting"
        if let driver { progress(MachineStep("Mounting the host's folders with \(driver.reason)")) }
        progress(MachineStep("\(verb) \(config.name) with \(accelerator.reason)"))
        try MachineError.checkInterruption()
        guard let error = try await machine.hypervisor.start(machine.domain) else {
            return (accelerator, channel)
        }
        if channel.kind == .vsock, channel.mayFallBack, error.meansNoVsock {
            return try await run(accelerator, .fallback(after: error.message), driver)
        }
        if driver?.mayFallBack == true, error.meansNoVirtiofs {
            return try await run(accelerator, channel, .fallback(after: error.message))
        }
        if accelerator.mayFallBack, error.meansNoKVM {
            return try await run(.fallback(after: error.message), channel, driver)
        }
        throw error.machineError(.startFailed, hint: hint(accelerator, channel, driver, error))
    }

    private func writeSeed(_ channel: ChannelChoice, _ driver: MountDriver?) async throws(MachineError) {
        progress(MachineStep("Preparing the guest's configuration"))
        try await SeedImage.write(seed(channel, driver), bundle: machine.agentBundle, to: machine.files.seed)
    }

    private func hint(
        _ accelerator: Accelerator, _ channel: ChannelChoice, _ driver: MountDriver?, _ error: LibvirtError
    ) -> String {
        if channel.kind == .vsock, error.meansNoVsock {
            return "Load the module vhost_vsock (sudo modprobe vhost_vsock), or set channel = \"auto\"."
        }
        if accelerator.kind == .kvm, error.meansNoKVM {
            return "Set domain_type = \"auto\" to fall back to emulation."
        }
        if isEFI, error.meansNoFirmware { return LibvirtError.firmwareHint }
        if driver?.kind == .virtiofs, error.meansNoVirtiofs {
            return "Look at virtiofsd's log beside QEMU's (\(machine.qemuLog)), or leave out [[mounts]]."
        }
        return "Look at QEMU's log: \(machine.qemuLog)"
    }

    /// What libvirt says of a type of machine that does not exist, or lacks what rum needs, names something else: "No PCI
    /// buses available".
    @Sendable private func definitionHint(after error: LibvirtError) -> String? {
        let (type, standard) = (config.advanced.machine, MachineConfig.Advanced().machine)
        return type == standard || !error.mayMean(machineType: type)
            ? nil : "Correct advanced.machine, which is \"\(type)\"; the default is \"\(standard)\"."
    }

    private func tag(_ index: Int) -> String { "rum\(index)" }

    private func seed(_ channel: ChannelChoice, _ driver: MountDriver?) -> GuestSeed {
        let tcp = "tcp:0.0.0.0:\(AgentPort.rpc.rawValue)"
        return GuestSeed(
            instanceID: record.instanceID, hostname: GuestSeed.hostname(for: config.name),
            user: config.ssh.user,
            authorizedKeys: config.ssh.authorizedKeys + [keys?.client].compactMap { $0 }, hostKey: keys?.host,
            listen: [channel.kind == .vsock ? "vsock" : tcp],
            listenWithoutVsock: channel.kind == .vsock && channel.mayFallBack ? [tcp] : nil,
            token: token.text, bundleDigest: bundleDigest,
            systemScript: config.provision.system, bootScript: config.provision.boot,
            userID: HostFolder.guestUserID(folders),
            mounts: folders.enumerated().map { index, folder in
                GuestSeed.Mount(
                    type: driver?.kind.rawValue ?? "", tag: tag(index), isReadOnly: folder.mount.isReadOnly,
                    path: folder.mount.guest)
            })
    }

    private func domainXML(
        _ accelerator: Accelerator, _ channel: ChannelChoice, _ driver: MountDriver?
    ) -> DomainXML {
        var base: DomainXML.Base?
        if let stamp = record.base, let format = record.baseFormat {
            base = DomainXML.Base(path: stamp.path, format: format.rawValue)
        }
        return DomainXML(
            name: machine.domain, uuid: record.uuid, accelerator: accelerator.kind,
            machine: config.advanced.machine, cpus: config.resources.cpus,
            memoryMB: config.resources.memoryMB, kernel: kernel,
            disk: config.image == nil ? nil : machine.files.disk, base: base, seed: machine.files.seed,
            consoleLog: machine.files.consoleLog, hasVsock: channel.kind == .vsock,
            isEFI: isEFI,
            mounts: folders.enumerated().map { index, folder in
                DomainXML.Mount(
                    isVirtiofs: driver?.kind == .virtiofs, path: folder.path, tag: tag(index),
                    isReadOnly: folder.mount.isReadOnly && driver?.keepsReadOnly == true)
            })
    }
}
