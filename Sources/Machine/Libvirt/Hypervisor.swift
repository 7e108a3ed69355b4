internal import CLibvirt
internal import Glibc
internal import RumConfig

/// A connection to libvirt. Every call of its C API is made here, on a queue of its own: most of them block.
///
/// The connection is opened by the first use, and again when the daemon was restarted.
actor Hypervisor {
    nonisolated let uri: String
    private let executor: LibvirtExecutor
    private var connection: OpaquePointer?

    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// `tell` hears of calls that take long: of a daemon that hangs, or of a start that reads a saved guest's memory. Its words
    /// are right for both.
    init(uri: String, tell: @escaping MachineProgress = { _ in }) {
        self.uri = uri
        executor = LibvirtExecutor {
            tell(MachineStep("Waiting for libvirt at \(uri)"))
        }
    }

    isolated deinit { close() }

    // MARK: - Connection

    /// Connects unless it is connected already; throws when no daemon answers.
    func open() throws(MachineError) {
        _ = try openConnection()
    }

    /// Closes the connection; the next use opens another.
    func close() {
        if let connection { virConnectClose(connection) }
        connection = nil
    }

    private func openConnection() throws(MachineError) -> OpaquePointer {
        if let connection {
            if virConnectIsAlive(connection) == 1 { return connection }
            close()
        }
        try LibvirtEventLoop.start()
        guard let new = virConnectOpen(uri) else {
            throw LibvirtError.last("connect to libvirt at \(uri)").connectionError(uri)
        }
        // A daemon that hangs counts as lost some time later. Drivers without a daemon refuse, which is fine.
        let keepAlive = MachineLimits.keepAlive
        _ = virConnectSetKeepAlive(new, keepAlive.interval, keepAlive.count)
        connection = new
        return new
    }

    // MARK: - Host

    /// Why libvirt offers no KVM domains of the machine type `machine`; nil when it does.
    func kvmRefusal(machine: String) throws(MachineError) -> String? {
        let connection = try openConnection()
        guard let text = virConnectGetDomainCapabilities(connection, nil, "x86_64", machine, "kvm", 0) else {
            return LibvirtError.last("ask for KVM").message
        }
        free(text)
        return nil
    }

    /// With what libvirt would emulate machines of the type `machine`.
    func emulation(machine: String) throws(MachineError) -> EmulationOffer {
        let connection = try openConnection()
        guard let text = virConnectGetDomainCapabilities(connection, nil, "x86_64", machine, "qemu", 0) else {
            let error = LibvirtError.last("find QEMU")
            throw error.machineError(
                .noLibvirt,
                hint: error.meansNoMachineType
                    ? "Correct advanced.machine; the default is \"\(MachineConfig.Advanced().machine)\"."
                    : "apt install qemu-system-x86 libvirt-daemon-driver-qemu")
        }
        defer { free(text) }
        return EmulationOffer(String(cString: text))
    }

    /// The version of libvirt's daemon: a million for each major, a thousand for each minor number.
    func version() throws(MachineError) -> UInt {
        var version: UInt = 0
        guard virConnectGetLibVersion(try openConnection(), &version) == 0 else { return 0 }
        return version
    }

    /// The user as which the daemon runs QEMU; nil when it does not say.
    func qemuUser() throws(MachineError) -> UInt32? {
        guard let text = virConnectGetCapabilities(try openConnection()) else { return nil }
        defer { free(text) }
        return LiveXML.qemuUser(String(cString: text))
    }

    // MARK: - Domains

    /// The state of the domain called `name`.
    func state(of name: String) throws(MachineError) -> MachineState {
        try withDomain(name) { domain throws(LibvirtError) in
            var state: Int32 = 0
            try Self.check("ask for the machine's state", virDomainGetState(domain, &state, nil, 0))
            return MachineState(state)
        } ?? .absent
    }

    /// The UUID of the domain called `name`; nil when there is none.
    func uuid(of name: String) throws(MachineError) -> String? {
        try withDomain(name) { domain throws(LibvirtError) in
            var buffer = [CChar](repeating: 0, count: Int(VIR_UUID_STRING_BUFLEN))
            try Self.check("ask for the machine's UUID", virDomainGetUUIDString(domain, &buffer))
            return buffer.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        }
    }

    /// The name of the domain with the UUID `uuid`; nil when there is none.
    func name(ofUUID uuid: String) throws(MachineError) -> String? {
        guard let domain = virDomainLookupByUUIDString(try openConnection(), uuid) else {
            let error = LibvirtError.last("look for the machine")
            // Text that is no UUID is nobody's.
            if error.isCode(VIR_ERR_NO_DOMAIN) || error.isCode(VIR_ERR_INVALID_ARG) { return nil }
            throw error.machineError(.libvirt)
        }
        defer { virDomainFree(domain) }
        return virDomainGetName(domain).map { String(cString: $0) }
    }

    /// The definition of the domain called `name`, with what libvirt assigned to it if it runs; nil when there is
    /// none.
    func xml(of name: String) throws(MachineError) -> String? {
        try withDomain(name) { domain throws(LibvirtError) in
            guard let text = virDomainGetXMLDesc(domain, 0) else {
                throw .last("read the machine's definition")
            }
            defer { free(text) }
            return String(cString: text)
        }
    }

    /// Creates the domain of `document`, or replaces the definition of the one with its name and UUID. `hint` tells what to do
    /// where libvirt's words do not.
    func define(
        _ document: String, hint: @Sendable (LibvirtError) -> String? = { _ in nil }
    ) throws(MachineError) {
        guard let domain = virDomainDefineXMLFlags(try openConnection(), document, 0) else {
            let error = LibvirtError.last("define the machine")
            throw error.machineError(
                .startFailed, hint: error.meansNoFirmware ? LibvirtError.firmwareHint : hint(error))
        }
        virDomainFree(domain)
    }

    /// Whether the next start continues a saved state (`virsh managedsave`) instead of booting.
    func hasSavedState(_ name: String) throws(MachineError) -> Bool {
        // Drivers that save nothing refuse the question.
        try withDomain(name) { domain in virDomainHasManagedSaveImage(domain, 0) == 1 } ?? false
    }

    /// Starts the domain called `name`; returns libvirt's error, from which the caller sees whether another try
    /// makes sense, or nil when it runs.
    func start(_ name: String) throws(MachineError) -> LibvirtError? {
        let result = try withDomain(name) { domain -> LibvirtError? in
            virDomainCreate(domain) == 0 ? nil : .last("start the machine")
        }
        guard let error = result else { throw Self.missing(name) }
        return error
    }

    func resume(_ name: String) throws(MachineError) {
        try change(name) { domain throws(LibvirtError) in
            try Self.check("resume the machine", virDomainResume(domain))
        }
    }

    func wakeUp(_ name: String) throws(MachineError) {
        try change(name) { domain throws(LibvirtError) in
            try Self.check("wake up the machine", virDomainPMWakeup(domain, 0))
        }
    }

    /// Presses the guest's power button; returns before the guest has done anything.
    func shutDown(_ name: String) throws(MachineError) {
        try change(name) { domain throws(LibvirtError) in
            try Self.check("shut down the machine", virDomainShutdown(domain))
        }
    }

    /// Ends the domain at once; fine when it does not run, or is not there.
    func forceOff(_ name: String) throws(MachineError) {
        _ = try withDomain(name) { domain throws(LibvirtError) in
            if virDomainDestroy(domain) == 0 { return }
            let error = LibvirtError.last("stop the machine")
            guard error.isCode(VIR_ERR_OPERATION_INVALID) else { throw error }
        }
    }

    /// Removes the definition of a stopped domain, with its saved state; fine when there is none.
    func undefine(_ name: String) throws(MachineError) {
        _ = try withDomain(name) { domain throws(LibvirtError) in
            let flags =
                VIR_DOMAIN_UNDEFINE_MANAGED_SAVE.rawValue | VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA.rawValue
                | VIR_DOMAIN_UNDEFINE_NVRAM.rawValue
            // The test driver knows no flags but that of saved states.
            if virDomainUndefineFlags(domain, flags) == 0 || virDomainUndefine(domain) == 0 { return }
            throw .last("remove the machine's definition")
        }
    }

    /// Runs a command of QEMU's human monitor and returns what it prints, which for most is nothing.
    func monitor(_ name: String, _ command: String) throws(MachineError) -> String {
        let output = try withDomain(name) { domain throws(LibvirtError) in
            var text: UnsafeMutablePointer<CChar>?
            let flags = VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP.rawValue
            try Self.check(
                "give QEMU the command \(command)", virDomainQemuMonitorCommand(domain, command, &text, flags)
            )
            defer { free(text) }
            return text.map { String(cString: $0) } ?? ""
        }
        guard let output else { throw Self.missing(name) }
        return output
    }

    // MARK: - Events

    /// Runs `body` with the events of the domain called `name`, registered before it starts.
    func withEvents<Result: Sendable>(
        of name: String, _ body: @Sendable (AsyncStream<MachineEvent>) async -> Result
    ) async throws(MachineError) -> Result {
        let used = try openConnection()
        let events: DomainEvents
        do {
            events = try DomainEvents.register(on: used, domain: name)
        } catch {
            throw error.machineError(.libvirt)
        }
        let result = await body(events.stream)
        // A connection that broke meanwhile took its callbacks with it.
        if connection == used { events.unregister(from: used) }
        return result
    }

    // MARK: - Pieces

    /// Calls `body` with the domain called `name`; nil when there is none, or none any more: a running domain whose
    /// definition was removed goes with its end.
    private func withDomain<Result>(
        _ name: String, _ body: (OpaquePointer) throws(LibvirtError) -> Result
    ) throws(MachineError) -> Result? {
        let connection = try openConnection()
        guard let domain = virDomainLookupByName(connection, name) else {
            let error = LibvirtError.last("look for the machine")
            if error.isCode(VIR_ERR_NO_DOMAIN) { return nil }
            throw error.machineError(.libvirt)
        }
        defer { virDomainFree(domain) }
        do {
            return try body(domain)
        } catch {
            if error.isCode(VIR_ERR_NO_DOMAIN) { return nil }
            throw error.machineError(.libvirt)
        }
    }

    private func change(_ name: String, _ body: (OpaquePointer) throws(LibvirtError) -> Void)
        throws(MachineError)
    {
        guard try withDomain(name, body) != nil else { throw Self.missing(name) }
    }

    private static func missing(_ name: String) -> MachineError {
        MachineError(.notCreated, "libvirt knows no domain \(name)", hint: "Create it with `rum up`.")
    }

    private static func check(_ operation: String, _ result: Int32) throws(LibvirtError) {
        if result < 0 { throw .last(operation) }
    }
}
