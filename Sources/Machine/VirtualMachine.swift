internal import AgentChannel
internal import Glibc
internal import Linux
internal import Ports
package import RumConfig

/// The machine of one rum.toml: its files, its libvirt domain, and the way to its agent.
///
/// Commands of several processes may work on one machine; those that change it take turns.
package struct VirtualMachine: Sendable {
    package let config: MachineConfig
    package let files: MachineFiles
    /// libvirt's name for it.
    package let domain: String
    let hypervisor: Hypervisor
    /// The archive of the agent that the guest installs, a tar.gz file.
    let agentBundle: String
    let environment: [String: String]

    /// Nothing is touched or connected yet.
    ///
    /// `environment` is the process's: RUM_HOME, RUM_CACHE and the XDG variables place the files,
    /// RUM_DOMAIN_TYPE (kvm or qemu) overrides `advanced.domain_type`, LIBVIRT_DEFAULT_URI stands in for
    /// `advanced.libvirt_uri`. `tell` hears of calls of libvirt that take long.
    package init(
        config: MachineConfig, agentBundle: String, environment: [String: String],
        tell: @escaping MachineProgress = { _ in }
    ) {
        self.config = config
        self.agentBundle = agentBundle
        self.environment = environment
        files = MachineFiles(machine: config.name, environment: environment)
        domain = "rum-\(config.name)"
        let fallback =
            environment["LIBVIRT_DEFAULT_URI"].flatMap { $0.isEmpty ? nil : $0 } ?? Self.usualURI
        hypervisor = Hypervisor(uri: config.advanced.libvirtURI ?? fallback, tell: tell)
    }

    /// The machine called `name` as it was created, whatever has become of its rum.toml; nil when there is none.
    ///
    /// It can do everything but start, for which the configuration is needed.
    package init?(
        existing name: String, environment: [String: String], tell: @escaping MachineProgress = { _ in }
    ) {
        let files = MachineFiles(machine: name, environment: environment)
        guard MachineName.isValid(name), MachineFiles.exists(files.directory) else { return nil }
        // Each command says itself that a record is damaged.
        let record = try? MachineRecord.load(files)
        var config = MachineConfig(name: name, file: record?.configFile ?? files.record)
        // Kept apart from the record, so that no damage to that sends a command to another libvirt.
        config.advanced.libvirtURI = record?.libvirtURI ?? MachineRecord.libvirtURI(files)
        self.init(config: config, agentBundle: "", environment: environment, tell: tell)
    }

    /// The machines that exist, by name.
    package static func all(
        environment: [String: String], tell: @escaping MachineProgress = { _ in }
    ) -> [VirtualMachine] {
        MachineFiles.names(environment: environment).compactMap {
            VirtualMachine(existing: $0, environment: environment, tell: tell)
        }
    }

    package var libvirtURI: String { hypervisor.uri }
    /// Whether libvirt is the host's one daemon, and not one of the user's.
    var isSystemDaemon: Bool { libvirtURI.contains(":///system") }

    /// How a hint begins that has the user ask libvirt about the machine: with its address, where virsh(1) would take another.
    package var virsh: String {
        let standard = ["VIRSH_DEFAULT_CONNECT_URI", "LIBVIRT_DEFAULT_URI"].lazy.compactMap {
            environment[$0]
        }
        .first { !$0.isEmpty }
        guard libvirtURI != standard ?? Self.usualURI else { return "virsh" }
        // A shell would take some of what is in an address with a socket for its own.
        let isPlain = libvirtURI.allSatisfy {
            $0.isASCII && ($0.isLetter || $0.isNumber || ":/+._-".contains($0))
        }
        let word = isPlain ? libvirtURI : "'\(libvirtURI.replacing("'", with: #"'\''"#))'"
        return "virsh -c \(word)"
    }

    /// What libvirt takes where nothing else is said.
    private static var usualURI: String { geteuid() == 0 ? "qemu:///system" : "qemu:///session" }

    /// Where libvirt by default keeps what the machine's QEMU prints (libvirt.org/kbase, debug logs). The user's daemon has
    /// it in the cache of whoever started it (qemu_conf.c), which a command of libvirt does when none runs.
    var qemuLog: String {
        let folder =
            libvirtURI.contains(":///session")
            ? MachineFiles.userCache(environment: environment) + "/libvirt/qemu/log" : "/var/log/libvirt/qemu"
        return "\(folder)/\(domain).log"
    }

    // MARK: - Commands

    /// Shuts the guest down, and turns it off when that takes longer than `timeout`.
    package func down(
        timeout: Duration = MachineLimits.shutdown, progress: @escaping MachineProgress
    ) async throws(MachineError) -> StopOutcome {
        guard let record = try MachineRecord.load(files) else { return .wasNotRunning }
        return try await exclusively(progress) { () async throws(MachineError) in
            try await checkOwnership(of: record)
            switch try await hypervisor.state(of: domain) {
            case .absent, .stopped: return .wasNotRunning
            case .paused: try await hypervisor.resume(domain)
            case .sleeping: try await hypervisor.wakeUp(domain)
            case .running, .shuttingDown: break
            }
            progress(MachineStep("Shutting down \(config.name)"))
            if try await shutDown(within: timeout) { return .orderly }
            progress(MachineStep("Turning off \(config.name), which did not shut down within \(timeout)"))
            try await hypervisor.forceOff(domain)
            return .forced
        }
    }

    /// Throws when `destroy` would refuse, before anything else of the machine is ended; returns whether its record can be
    /// read, since a damaged one must not keep it from being destroyed.
    @discardableResult
    package func checkDestroyable() async throws(MachineError) -> Bool {
        do throws(MachineError) {
            if let record = try MachineRecord.load(files) { try await checkOwnership(of: record) }
            return true
        } catch {
            guard error.kind == .damaged else { throw error }
            return false
        }
    }

    /// Removes the machine with its files; false when there was none.
    package func destroy(progress: @escaping MachineProgress) async throws(MachineError) -> Bool {
        guard MachineFiles.exists(files.directory) else { return false }
        return try await exclusively(progress) { () async throws(MachineError) in
            if try await !checkDestroyable() {
                progress(
                    MachineStep(
                        "\(files.record) is damaged; removing \(domain) of libvirt at \(hypervisor.uri)"))
            }
            progress(MachineStep("Removing \(config.name)"))
            try await hypervisor.stopAndForget(domain)
            try MachineFiles.remove(files.directory)
            return true
        }
    }

    /// What libvirt says about the machine, and how to reach its agent if it runs.
    package func status() async throws(MachineError) -> MachineStatus {
        let record = try MachineRecord.load(files)
        if let record { try await checkOwnership(of: record) }
        let state = try await hypervisor.state(of: domain)
        var running: RunningMachine?
        if let record, state == .running { running = try await reach(record, wasRunning: true) }
        return MachineStatus(
            name: config.name, state: state, libvirtURI: hypervisor.uri,
            directory: record == nil ? nil : files.directory, running: running)
    }

    /// Reports what happens to the machine, from now until the task is cancelled.
    ///
    /// The state comes first. When libvirt's daemon goes away, `libvirtLost` is reported, and the state again as
    /// soon as it is back.
    package func watch(_ report: @escaping @Sendable (MachineEvent) async -> Void) async {
        while !Task.isCancelled {
            do throws(MachineError) {
                try await hypervisor.withEvents(of: domain) { events in
                    // Asked for once events are collected, so that no change can fall in between.
                    guard let state = try? await hypervisor.state(of: domain) else { return }
                    await report(.state(state))
                    for await event in events {
                        await report(event)
                        if event == .libvirtLost { return }
                    }
                }
                await hypervisor.close()
            } catch {
                // The daemon is not back yet: the next try follows.
            }
            try? await Task.sleep(for: MachineLimits.libvirtRetry)
        }
    }

    /// What accelerator and channel are chosen from. Connects to libvirt.
    func hostFacts() async throws(MachineError) -> HostFacts {
        HostFacts(
            kvmRefusal: try await hypervisor.kvmRefusal(machine: config.advanced.machine),
            virtualizationFlag: HostFacts.probeVirtualizationFlag(),
            vhostVsockError: HostFacts.probeVhostVsock(),
            isSystemDaemon: isSystemDaemon)
    }

    // MARK: - Pieces

    /// Takes the turn among the processes that change this machine.
    func exclusively<Result>(
        _ progress: @escaping MachineProgress, _ body: () async throws(MachineError) -> Result
    ) async throws(MachineError) -> Result {
        try files.makeDirectory()
        let name = config.name
        return try await FileLock.holding(
            files.lock, waiting: { progress(MachineStep("Waiting for another command on \(name)")) }, body)
    }

    /// The path of its rum.toml, absolute where the file exists.
    package var configFile: String {
        guard let path = realpath(config.file, nil) else { return config.file }
        defer { free(path) }
        return String(cString: path)
    }

    /// Throws when the name belongs to another rum.toml, or to a domain that is not ours, and when ours has got another.
    func checkOwnership(of record: MachineRecord) async throws(MachineError) {
        if record.configFile != configFile, MachineFiles.exists(record.configFile) {
            throw MachineError(
                .conflict, "the machine \(config.name) belongs to \(record.configFile)",
                hint: "Give one of the two another `name`.")
        }
        guard let uuid = try await hypervisor.uuid(of: domain) else {
            if let other = try await hypervisor.name(ofUUID: record.uuid), other != domain {
                throw MachineError(
                    .conflict, "libvirt has the machine \(config.name) under another name, \(other)",
                    hint: "Rename it back while it is off: \(virsh) domrename \(other) \(domain)")
            }
            return
        }
        if uuid != record.uuid {
            throw MachineError(
                .conflict, "libvirt already has a domain \(domain) that is not this machine",
                hint:
                    "Give this one another `name`, or remove that: \(virsh) undefine \(domain)")
        }
    }

    /// How to reach the agent of the running machine.
    func reach(
        _ record: MachineRecord, wasRunning: Bool
    ) async throws(MachineError) -> RunningMachine {
        let token = try files.readToken()
        let live = try await hypervisor.xml(of: domain) ?? ""
        let address: AgentAddress
        if record.lacksVsock != true, let cid = LiveXML.vsockCID(live) {
            address = .vsock(cid: cid)
        } else {
            let network = UserNetwork(hypervisor: hypervisor, domain: domain, isReserved: reservesHostPort)
            address = .tcp(.loopbackV4, port: try await network.forwardAgent())
        }
        return RunningMachine(
            address: address, token: token, wasRunning: wasRunning, domainType: LiveXML.domainType(live),
            accelerator: record.accelerator ?? "unknown", channel: record.channel ?? "unknown")
    }

    /// Whether the configuration wants the host port `number` for a forward of its own.
    private func reservesHostPort(_ number: UInt16) -> Bool {
        guard let port = PortNumber(number) else { return true }
        return config.ports.contains { $0.host == port } || config.autoPorts?.range.contains(port) == true
    }

    private func shutDown(within timeout: Duration) async throws(MachineError) -> Bool {
        let deadline = ContinuousClock.now + timeout
        while ContinuousClock.now < deadline {
            // A guest that is still booting misses the power button, so it is pressed again.
            do throws(MachineError) {
                try await hypervisor.shutDown(domain)
            } catch {
                if try await hypervisor.state(of: domain) == .running { throw error }
            }
            let rest = deadline - ContinuousClock.now
            if try await isStopped(within: min(rest, MachineLimits.powerButton)) { return true }
        }
        return false
    }

    func isStopped(within timeout: Duration) async throws(MachineError) -> Bool {
        let deadline = ContinuousClock.now + timeout
        repeat {
            if [.stopped, .absent].contains(try await hypervisor.state(of: domain)) { return true }
            try? await Task.sleep(for: MachineLimits.statePoll)
        } while ContinuousClock.now < deadline && !Task.isCancelled
        return false
    }
}

extension Hypervisor {
    /// Turns the domain off and removes its definition; fine when there is none.
    func stopAndForget(_ name: String) throws(MachineError) {
        guard try state(of: name) != .absent else { return }
        try forceOff(name)
        try undefine(name)
    }
}
