internal import RumConfig

extension VirtualMachine {
    /// Creates and starts the machine as far as it is not, and opens the way to its agent.
    ///
    /// A machine that runs is left alone, whatever the configuration says by now. With `reset` it is stopped and
    /// starts from a fresh disk. What fails on the way of creating a machine is undone.
    ///
    /// `forwarder` forwards its ports already and goes on with that.
    package func up(
        reset: Bool = false, forwarder: PortForwarder? = nil, progress: @escaping MachineProgress
    ) async throws(MachineError) -> RunningMachine {
        try files.checkSocketLength()
        return try await exclusively(progress) { () async throws(MachineError) in
            let known = try MachineRecord.load(files)
            var record = known ?? MachineRecord(configFile: configFile)
            tellReach(&record, progress)
            do throws(MachineError) {
                return try await bringUp(&record, reset: reset && known != nil, forwarder, progress)
            } catch {
                if known == nil { await undo(record) }
                throw error
            }
        }
    }

    private func bringUp(
        _ record: inout MachineRecord, reset: Bool, _ forwarder: PortForwarder?,
        _ progress: @escaping MachineProgress
    ) async throws(MachineError) -> RunningMachine {
        try await hypervisor.open()
        try await checkOwnership(of: record)
        let starter = MachineStarter(machine: self, progress: progress)
        if reset {
            // The new disk comes first: if it cannot be made or used, the machine keeps the old one, and runs on.
            try await starter.check()
            try await starter.disk.replace(&record)
            progress(MachineStep("Turning off \(config.name) for its fresh disk"))
            try await hypervisor.stopAndForget(domain)
        }
        let wasRunning = try await wake(progress)
        record.configFile = configFile
        record.libvirtURI = hypervisor.uri
        if !wasRunning { try await starter.start(&record) }
        var running = try await reach(record, wasRunning: wasRunning)
        // That of a run before ends with this start.
        running.hasNewForwards = try tellChanges(
            &record, wasStarted: !wasRunning, wasRunning ? forwarder : nil, progress)
        return running
    }

    /// Says, before anything of it is used, what rum.toml uses beyond its own folder and has not been told yet.
    private func tellReach(_ record: inout MachineRecord, _ progress: MachineProgress) {
        let file = configFile
        let folder = String(file[..<(file.lastIndex(of: "/") ?? file.startIndex)])
        let reach = config.reach(beyond: folder)
        let news = reach.filter { record.reachTold?.contains($0) != true }
        record.reachTold = reach
        guard !news.isEmpty else { return }
        progress(
            MachineStep("\(config.file) uses more than its own folder: " + news.joined(separator: "; ")))
    }

    /// Says what of the configuration is not as the machine was made and started with, and notes what now is. Returns
    /// whether some of it is about forwards.
    private func tellChanges(
        _ record: inout MachineRecord, wasStarted: Bool, _ forwarder: PortForwarder?,
        _ progress: MachineProgress
    ) throws(MachineError) -> Bool {
        let wanted = AppliedSettings(config)
        var applied = record.applied ?? wanted
        let changes = applied.changes(to: wanted)
        for change in changes {
            progress(MachineStep(change.sentence(wasStarted: wasStarted, forwarder: forwarder)))
        }
        applied.apply(wanted, at: wasStarted ? [.now, .start] : forwarder == nil ? [.now] : [])
        record.applied = applied
        try record.save(files)
        return changes.contains { $0.moment == .now }
    }

    /// Notes that ports are forwarded as the configuration says, from now on.
    package func noteForwards(progress: @escaping MachineProgress) async throws(MachineError) {
        try await exclusively(progress) { () async throws(MachineError) in
            guard var record = try MachineRecord.load(files) else { return }
            record.applied?.apply(AppliedSettings(config), at: [.now])
            try record.save(files)
        }
    }

    /// Takes back a creation that failed. Whatever goes wrong here, the first error is the one that matters.
    private func undo(_ record: MachineRecord) async {
        if let uuid = try? await hypervisor.uuid(of: domain), uuid == record.uuid {
            try? await hypervisor.stopAndForget(domain)
        }
        try? MachineFiles.remove(files.directory)
    }

    /// Makes a suspended machine run; false when it is stopped and must be started.
    private func wake(_ progress: MachineProgress) async throws(MachineError) -> Bool {
        switch try await hypervisor.state(of: domain) {
        case .running: return true
        case .absent, .stopped: return false
        case .paused:
            progress(MachineStep("Resuming \(config.name)"))
            try await hypervisor.resume(domain)
            return true
        case .sleeping:
            progress(MachineStep("Waking up \(config.name)"))
            try await hypervisor.wakeUp(domain)
            return true
        case .shuttingDown:
            progress(MachineStep("Waiting for \(config.name) to shut down"))
            if try await !isStopped(within: MachineLimits.shutdown) {
                try MachineError.checkInterruption()
                try await hypervisor.forceOff(domain)
            }
            return false
        }
    }
}
