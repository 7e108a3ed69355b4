import AgentChannel
import Foundation
import RumConfig
import Synchronization
import TestSupport
import Testing

@testable import Machine

private let libvirtURI = ProcessInfo.processInfo.environment["RUM_TEST_LIBVIRT_URI"]

/// Whole machines on a real daemon and a real QEMU. Nothing on the disk boots, so the guest stays in its firmware: enough for
/// everything but the agent, and it starts in a moment.
@Suite(
    "A real libvirt", .serialized,
    .enabled(
        if: libvirtURI != nil,
        "set RUM_TEST_LIBVIRT_URI, for example to the output of scripts/libvirtd-private DIR start"))
struct RealLibvirtTests {
    let folder: TestFolder
    let machine: VirtualMachine

    init() async throws {
        folder = try TestFolder()
        _ = try write(sampleDisk(mebibytes: 32), to: folder.path + "/base.img")
        let text = """
            [image]
            base = "base.img"
            [resources]
            memory_mb = 64
            cpus = 1
            disk = "64M"
            [advanced]
            libvirt_uri = "\(libvirtURI ?? "")"
            """
        let file = try folder.file("\((folder.path as NSString).lastPathComponent).rum.toml", text)
        machine = VirtualMachine(
            config: try MachineConfig.load(path: file), agentBundle: try folder.file("bundle.tar.gz"),
            environment: ["RUM_HOME": folder.path + "/home", "RUM_CACHE": folder.path + "/cache"])
    }

    /// Runs `body` and destroys the machine in any case.
    private func withMachine(_ body: () async throws -> Void) async throws {
        do {
            try await body()
        } catch {
            _ = try? await machine.destroy { _ in }
            throw error
        }
        #expect(try await machine.destroy { _ in })
        #expect(try await machine.status().state == .absent)
        #expect(!MachineFiles.exists(machine.files.directory))
    }

    @Test("up is idempotent, down stops, and up starts again")
    func upAndDown() async throws {
        try await withMachine {
            let first = try await machine.up { _ in }
            #expect(!first.wasRunning)
            let second = try await machine.up { _ in }
            #expect(second.wasRunning)
            #expect(second.address == first.address)
            #expect(second.token == first.token)
            #expect(second.accelerator == first.accelerator)
            #expect(try await machine.status().running == second)
            // No guest that would hear the power button.
            #expect(try await machine.down(timeout: .milliseconds(300)) { _ in } == .forced)
            #expect(try await machine.down { _ in } == .wasNotRunning)
            #expect(try await machine.status().state == .stopped)
            let third = try await machine.up { _ in }
            #expect(!third.wasRunning)
            #expect(third.token == first.token)
        }
    }

    @Test("Token, disk and seed are for their owner only")
    func modes() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            for path in [
                machine.files.token, machine.files.disk, machine.files.seed, machine.files.sshKey,
                machine.files.sshHostKey, machine.files.knownHosts,
            ] {
                #expect(try mode(of: path) == 0o600, "\(path)")
            }
            #expect(try mode(of: machine.files.directory) == 0o700)
        }
    }

    @Test("A reset gives a fresh disk and a new instance, but keeps machine and token")
    func reset() async throws {
        try await withMachine {
            let first = try await machine.up { _ in }
            let before = try #require(try MachineRecord.load(machine.files))
            let second = try await machine.up(reset: true) { _ in }
            let after = try #require(try MachineRecord.load(machine.files))
            #expect(!second.wasRunning)
            #expect(second.token == first.token)
            #expect(after.instanceID != before.instanceID)
            #expect(after.uuid == before.uuid)
        }
    }

    @Test("A disk grows with the configuration at the next start, and never shrinks")
    func growth() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            for (size, expected) in [("96M", UInt64(96) << 20), ("32M", 96 << 20)] {
                _ = try await machine.down(timeout: .milliseconds(300)) { _ in }
                var config = machine.config
                config.resources.disk = try #require(ByteSize(text: size))
                let changed = VirtualMachine(
                    config: config, agentBundle: machine.agentBundle, environment: machine.environment)
                _ = try await changed.up { _ in }
                _ = try await machine.down(timeout: .milliseconds(300)) { _ in }
                #expect(try DiskImage.virtualSize(ofDisk: machine.files.disk) == expected)
            }
        }
    }

    @Test("A reset that cannot make the new disk or start with it leaves the machine running on its old one")
    func failedReset() async throws {
        try await withMachine {
            let first = try await machine.up { _ in }
            let disk = try MachineRecord.load(machine.files)?.instanceID
            var config = machine.config
            config.mounts = [MachineConfig.Mount(host: folder.path + "/none", guest: "/work")]
            let other = VirtualMachine(
                config: config, agentBundle: machine.agentBundle, environment: machine.environment)
            await #expect(throws: MachineError.self) { _ = try await other.up(reset: true) { _ in } }
            #expect(try await machine.status().running?.address == first.address)
            #expect(try MachineRecord.load(machine.files)?.instanceID == disk)
            try FileManager.default.removeItem(atPath: folder.path + "/base.img")
            await #expect(throws: MachineError.self) { _ = try await machine.up(reset: true) { _ in } }
            #expect(try await machine.status().running?.address == first.address)
        }
    }

    @Test("A base image that changed stops the start before anything is touched")
    func changedBase() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            _ = try await machine.down(timeout: .milliseconds(300)) { _ in }
            _ = try write(sampleDisk(mebibytes: 16), to: folder.path + "/base.img")
            let error = await #expect(throws: MachineError.self) { _ = try await machine.up { _ in } }
            #expect(error?.hint.contains("--reset") == true)
            #expect(machine.files.exists)
        }
    }

    @Test("A machine outlives its rum.toml: its name alone finds it")
    func byName() async throws {
        try await withMachine {
            let first = try await machine.up { _ in }
            try FileManager.default.removeItem(atPath: machine.config.file)
            let name = machine.config.name
            #expect(VirtualMachine.all(environment: machine.environment).map(\.config.name) == [name])
            let found = try #require(VirtualMachine(existing: name, environment: machine.environment))
            #expect(found.libvirtURI == machine.libvirtURI)
            #expect(try await found.status().running?.address == first.address)
            #expect(try await found.down(timeout: .milliseconds(300)) { _ in } == .forced)
            #expect(VirtualMachine(existing: "../" + name, environment: machine.environment) == nil)
            #expect(VirtualMachine(existing: name + "x", environment: machine.environment) == nil)
        }
    }

    @Test("A machine whose folder is named in another way is started from its disk")
    func otherPath() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            _ = try await machine.down(timeout: .milliseconds(300)) { _ in }
            let environment = machine.environment.merging(["RUM_HOME": folder.path + "/./home/"]) { $1 }
            let other = VirtualMachine(
                config: machine.config, agentBundle: machine.agentBundle, environment: environment)
            #expect(other.files.disk != machine.files.disk)
            #expect(try await !other.up { _ in }.wasRunning)
        }
    }

    @Test("A machine that goes on in a snapshot's file is not started from the disk below it")
    func snapshot() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            let virsh = Tool(name: "virsh", package: "libvirt-clients")
            try await virsh.output(of: [
                "-c", machine.libvirtURI, "snapshot-create-as", machine.domain, "s", "--disk-only",
            ])
            _ = try await machine.down(timeout: .milliseconds(300)) { _ in }
            let error = await #expect(throws: MachineError.self) { _ = try await machine.up { _ in } }
            let file = machine.files.directory + "/disk.s"
            #expect(
                error?.message
                    == "\(machine.domain) of libvirt has its disk in \(file), as after a snapshot")
            #expect(error?.hint.contains("--base '\(machine.files.disk)'") == true)
            let domain = try await machine.hypervisor.xml(of: machine.domain) ?? ""
            #expect(LiveXML.diskFile("vda", of: domain) == file)
            // The way out that it names.
            #expect(try await machine.hypervisor.start(machine.domain) == nil)
            try await virsh.output(of: [
                "-c", machine.libvirtURI, "blockcommit", machine.domain, "vda", "--base", machine.files.disk,
                "--active", "--pivot", "--wait",
            ])
            _ = try await machine.down(timeout: .milliseconds(300)) { _ in }
            _ = try await machine.up { _ in }
        }
    }

    @Test("A type of machine that does not exist is named, whatever libvirt complains of")
    func machineType() async throws {
        var config = machine.config
        config.advanced.machine = "nope"
        let odd = VirtualMachine(
            config: config, agentBundle: machine.agentBundle, environment: machine.environment)
        let error = await #expect(throws: MachineError.self) { _ = try await odd.up { _ in } }
        #expect(error?.hint.contains("Correct advanced.machine, which is \"nope\"") == true)
        let offer = await #expect(throws: MachineError.self) {
            _ = try await odd.hypervisor.emulation(machine: "nope")
        }
        #expect(offer?.hint.contains("Correct advanced.machine") == true)
        #expect(!MachineFiles.exists(machine.files.directory))
    }

    @Test("A changed configuration is told once, with when it takes effect")
    func changes() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            var config = machine.config
            config.resources.cpus = 2
            let changed = VirtualMachine(
                config: config, agentBundle: machine.agentBundle, environment: machine.environment)
            let told = Mutex<[String]>([])
            let progress: MachineProgress = { step in
                if step.sentence.contains("has changed") { told.withLock { $0.append(step.sentence) } }
            }
            _ = try await changed.up(progress: progress)
            _ = try await changed.down(timeout: .milliseconds(300)) { _ in }
            _ = try await changed.up(progress: progress)
            _ = try await changed.up(progress: progress)
            let subject = "resources.cpus has changed from 1 to 2: "
            #expect(
                told.withLock { $0 } == [
                    subject + "takes effect at the next start (`rum down`, `rum up`)", subject + "applied",
                ])
        }
    }

    @Test("The consoles of the runs before are kept, a handful of them")
    func lastConsole() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            for run in 0..<6 {
                _ = try await machine.down(timeout: .milliseconds(300)) { _ in }
                try MachineFiles.write(Array("run \(run)".utf8), to: machine.files.consoleLog)
                _ = try await machine.up { _ in }
            }
            let kept = try machine.files.earlierConsoleLogs.map { try readText($0) }
            #expect(kept == ["run 5", "run 4", "run 3", "run 2"])
        }
    }

    @Test("Two commands at once make one machine")
    func together() async throws {
        try await withMachine {
            let machine = machine
            async let first = machine.up { _ in }
            async let second = machine.up { _ in }
            let both = try await [first, second]
            #expect(both[0].address == both[1].address)
            #expect(both.count { $0.wasRunning } == 1)
        }
    }

    @Test("A suspended machine runs on with the next up")
    func suspended() async throws {
        try await withMachine {
            let first = try await machine.up { _ in }
            try await Tool(name: "virsh", package: "libvirt-clients").output(of: [
                "-q", "-c", machine.libvirtURI, "suspend", machine.domain,
            ])
            #expect(try await machine.status().state == .paused)
            let second = try await machine.up { _ in }
            #expect(second.wasRunning)
            #expect(second.address == first.address)
        }
    }

    @Test("A start falls back to tcp and to emulation where vsock and KVM fail, and says why")
    func fallback() async throws {
        try await withMachine {
            // Makes the files.
            _ = try await machine.up { _ in }
            try await machine.hypervisor.stopAndForget(machine.domain)
            let facts = HostFacts(
                kvmRefusal: nil, virtualizationFlag: "vmx", vhostVsockError: nil, isSystemDaemon: true)
            let attempt = StartAttempt(
                machine: machine, progress: { _ in },
                record: try #require(try MachineRecord.load(machine.files)), kernel: nil,
                token: try machine.files.readToken(), keys: nil, bundleDigest: "")
            let chosen = try await attempt.run(
                .choose(wanted: .auto, facts: facts), .choose(wanted: .auto, facts: facts))
            let live = try #require(try await machine.hypervisor.xml(of: machine.domain))
            #expect(live.hasPrefix("<domain type='\(chosen.accelerator.kind.rawValue)'"))
            #expect((LiveXML.vsockCID(live) != nil) == (chosen.channel.kind == .vsock))
            if chosen.channel.kind == .tcp {
                #expect(chosen.channel.reason.contains("since starting with vsock failed ("))
            }
            if chosen.accelerator.kind == .qemu {
                #expect(chosen.accelerator.reason.contains("since starting with KVM failed ("))
            }
        }
    }

    @Test("Whoever watches learns that QEMU was killed")
    func crash() async throws {
        try await withMachine {
            _ = try await machine.up { _ in }
            let qemu = try #require(try qemuProcess())
            let machine = machine
            let log = EventLog()
            await withTaskGroup(of: Void.self) { group in
                let (ready, isReady) = AsyncStream.makeStream(of: Void.self)
                let (done, isDone) = AsyncStream.makeStream(of: Void.self)
                group.addTask {
                    await machine.watch { event in
                        log.append(event)
                        if case .state = event { isReady.finish() }
                        if case .stopped = event { isDone.finish() }
                    }
                }
                for await _ in ready {}
                #expect(kill(qemu, SIGKILL) == 0)
                for await _ in done {}
                group.cancelAll()
            }
            #expect(log.events == [.state(.running), .stopped(.failed)])
        }
    }

    /// The QEMU process of the machine, found by its command line.
    private func qemuProcess() throws -> pid_t? {
        for entry in try FileManager.default.contentsOfDirectory(atPath: "/proc") {
            guard let pid = pid_t(entry),
                let line = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline")
            else { continue }
            if String(decoding: line, as: UTF8.self).contains("guest=\(machine.domain),") { return pid }
        }
        return nil
    }
}

/// Keeps what a watcher reports.
private final class EventLog: Sendable {
    private let kept = Mutex<[MachineEvent]>([])

    func append(_ event: MachineEvent) { kept.withLock { $0.append(event) } }

    var events: [MachineEvent] { kept.withLock { $0 } }
}
