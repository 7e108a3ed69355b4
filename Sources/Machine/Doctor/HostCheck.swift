internal import FoundationEssentials
internal import Glibc
internal import Linux
internal import RumConfig
internal import Synchronization

/// Looks at this host as a start of `machine` would, and changes nothing.
package struct HostCheck: Sendable {
    let machine: VirtualMachine
    let progress: MachineProgress

    package init(machine: VirtualMachine, progress: @escaping MachineProgress) {
        self.machine = machine
        self.progress = progress
    }

    private var config: MachineConfig { machine.config }
    private var isSystemDaemon: Bool { machine.isSystemDaemon }

    /// What was found, in the order in which it should be read.
    package func findings() async -> [HostFinding] {
        let user = GroupMembership.current()
        let (kvm, vsock) = (DeviceAccess.kvm(), DeviceAccess.vsock())
        var findings = await libvirt(kvm: kvm, vsock: vsock, user: user)
        findings += [
            HostJudgement.groups(user, [kvm, vsock], isSystemDaemon: isSystemDaemon),
            HostJudgement.appArmor(isOn: Self.hasAppArmor, isSystemDaemon: isSystemDaemon),
        ]
        findings += await tools()
        findings += [bundle, room("machines", machine.files.directory, "RUM_HOME"), socketLength].compactMap {
            $0
        }
        findings.append(room("cache", machine.files.cache, "RUM_CACHE"))
        findings.append(
            HostJudgement.memory(
                wanted: UInt64(config.resources.memoryMB) << 20, available: Self.availableMemory))
        let firstFree =
            (try? SmallFile.firstLine(of: "/proc/sys/net/ipv4/ip_unprivileged_port_start"))
            .flatMap { UInt16($0) } ?? 1024
        if let ports = HostJudgement.ports(config.ports, firstFree: firstFree, isRoot: user.isRoot) {
            findings.append(ports)
        }
        return findings
    }

    // MARK: - libvirt

    private func libvirt(kvm: DeviceAccess, vsock: DeviceAccess, user: GroupMembership) async -> [HostFinding]
    {
        let machine = machine
        let type = config.advanced.machine
        let limit = MachineLimits.libvirtAnswer
        let answer = await Self.answer(within: limit, slowly: slow) { () async -> LibvirtFacts in
            do throws(MachineError) {
                let version = try await machine.hypervisor.version()
                return LibvirtFacts(
                    answer: .version("\(version / 1_000_000).\(version / 1000 % 1000).\(version % 1000)"),
                    emulation: await Self.result { () async throws(MachineError) in
                        try await machine.hypervisor.emulation(machine: type)
                    },
                    host: try await machine.hostFacts(),
                    mounts: await Self.result { () async throws(MachineError) in
                        try await machine.mountDriver()
                    })
            } catch {
                return LibvirtFacts(answer: .failed(error))
            }
        }
        let facts = answer ?? LibvirtFacts(answer: .silent(limit))
        var findings = [HostJudgement.libvirt(machine.libvirtURI, facts.answer)]
        if let emulation = facts.emulation {
            findings.append(HostJudgement.emulator(emulation))
            if case .success(let offer) = emulation {
                findings.append(
                    HostJudgement.firmware(
                        hasUEFI: offer.hasUEFI, wanted: config.firmware, hasKernel: config.boot != nil))
            }
        }
        if let mounts = facts.mounts {
            findings.append(HostJudgement.mounts(mounts, areWanted: !config.mounts.isEmpty))
        }
        // What libvirt would offer is unknown without it; what the devices say is worth telling all the same.
        let host =
            facts.host
            ?? HostFacts(
                kvmRefusal: nil, virtualizationFlag: HostFacts.probeVirtualizationFlag(),
                vhostVsockError: HostFacts.probeVhostVsock(), isSystemDaemon: isSystemDaemon)
        do throws(MachineError) {
            let wanted = try MachineStarter(machine: machine, progress: progress).wantedDomainType()
            findings.append(HostJudgement.accelerator(wanted: wanted, facts: host, kvm: kvm, user: user))
        } catch {
            findings.append(HostFinding("accelerator", .fail, error.message, cure: error.hint))
        }
        findings.append(
            HostJudgement.channel(wanted: config.advanced.channel, facts: host, vsock: vsock, user: user))
        return findings
    }

    private var slow: @Sendable () -> Void {
        { [progress, uri = machine.libvirtURI] in progress(MachineStep("Waiting for libvirt at \(uri)")) }
    }

    private struct LibvirtFacts: Sendable {
        var answer: HostJudgement.LibvirtAnswer
        var emulation: Result<EmulationOffer, MachineError>?
        var host: HostFacts?
        var mounts: Result<MountDriver, MachineError>?
    }

    private static func result<Value>(
        _ body: () async throws(MachineError) -> Value
    ) async -> Result<Value, MachineError> {
        do throws(MachineError) {
            return .success(try await body())
        } catch {
            return .failure(error)
        }
    }

    /// What `body` returns, or nil when that takes longer than `limit`; `slowly` is called when it takes a second.
    ///
    /// Nothing can end a call of libvirt that waits for its daemon, so one that is late is left to itself: this is for
    /// a program that ends soon.
    private static func answer<Value: Sendable>(
        within limit: Duration, slowly: @escaping @Sendable () -> Void,
        _ body: @escaping @Sendable () async -> Value
    ) async -> Value? {
        let (answers, continuation) = AsyncStream.makeStream(of: Value?.self)
        let work = Task { continuation.yield(await body()) }
        let clock = Task {
            try await Task.sleep(for: min(.seconds(1), limit))
            slowly()
            try await Task.sleep(for: max(.zero, limit - .seconds(1)))
            continuation.yield(nil)
        }
        defer {
            work.cancel()
            clock.cancel()
        }
        for await answer in answers { return answer }
        return nil
    }

    // MARK: - Programs and files

    private func tools() async -> [HostFinding] {
        var found: [String] = []
        var findings: [HostFinding] = []
        for tool in Tool.needed(for: config) {
            if await tool.isInstalled {
                found.append(tool.name)
            } else {
                findings.append(Self.missing(tool))
            }
        }
        let makers = [Tool.xorriso, Tool.genisoimage]
        var maker: String?
        for tool in makers where maker == nil { if await tool.isInstalled { maker = tool.name } }
        if let maker { found.append(maker) } else { findings.append(Self.missing(.xorriso)) }
        if findings.isEmpty {
            findings = [HostFinding("tools", .ok, found.joined(separator: ", "))]
        }
        if await !Tool.sshKeygen.isInstalled {
            findings.append(
                HostFinding(
                    "ssh", .warn,
                    "ssh-keygen is not installed, so machines get no keys and `rum ssh` cannot work",
                    cure: "apt install \(Tool.sshKeygen.package)"))
        }
        var packers: [Tool] = []
        for tool in [Tool.gzip, .xz, .zstd] where await !tool.isInstalled { packers.append(tool) }
        if !packers.isEmpty {
            findings.append(
                HostFinding(
                    "unpacking", .warn,
                    "\(packers.map(\.name).joined(separator: ", ")): not installed, and needed for images packed so",
                    cure: "apt install \(packers.map(\.package).joined(separator: " "))"))
        }
        return findings
    }

    private static func missing(_ tool: Tool) -> HostFinding {
        HostFinding("tools", .fail, "\(tool.name) is not installed", cure: "apt install \(tool.package)")
    }

    private var bundle: HostFinding {
        let path = machine.agentBundle
        guard MachineFiles.isRegular(path), access(path, R_OK) == 0 else {
            return HostFinding(
                "agent", .fail, "there is no agent bundle at \(path)", cure: MachineStarter.bundleHint)
        }
        return HostFinding("agent", .ok, "the guest's agent is in \(path)")
    }

    private func room(_ check: String, _ path: String, _ variable: String) -> HostFinding {
        var folder = path
        while !MachineFiles.exists(folder), let slash = folder.lastIndex(of: "/"), slash != folder.startIndex
        {
            folder = String(folder[..<slash])
        }
        return HostJudgement.room(
            check, path, free: MachineFiles.room(in: folder), isWritable: access(folder, W_OK) == 0,
            variable: variable)
    }

    /// nil when the names are short enough.
    private var socketLength: HostFinding? {
        do throws(MachineError) {
            try machine.files.checkSocketLength()
            return nil
        } catch {
            return HostFinding("sockets", .fail, error.message, cure: error.hint)
        }
    }

    private static var hasAppArmor: Bool {
        (try? SmallFile.text(of: "/sys/module/apparmor/parameters/enabled"))?.hasPrefix("Y") == true
    }

    /// In bytes, from /proc/meminfo, which counts in KiB.
    private static var availableMemory: UInt64? {
        let text = (try? SmallFile.text(of: "/proc/meminfo")) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
        return line?.split(separator: " ").dropFirst().first.flatMap { UInt64($0) }.map { $0 << 10 }
    }
}
