import Foundation
import Glibc
import RumConfig
import Synchronization
import TestSupport
import Testing

@testable import Machine

/// What can go wrong before a machine starts; libvirt's test driver stands in for a daemon, which is not asked to
/// start anything.
@Suite("A machine that cannot be created")
struct FailedUpTests {
    let folder: TestFolder

    init() throws { folder = try TestFolder() }

    private func machine(_ name: String, _ text: String, bundle: String? = nil) throws -> VirtualMachine {
        let file = try folder.file(
            "\(name).rum.toml", text + "\n[advanced]\nlibvirt_uri = \"test:///default\"\n")
        return VirtualMachine(
            config: try MachineConfig.load(path: file),
            agentBundle: try bundle ?? folder.file("bundle.tar.gz"),
            environment: ["RUM_HOME": folder.path + "/home", "RUM_CACHE": folder.path + "/cache"])
    }

    private func failure(_ machine: VirtualMachine) async -> MachineError? {
        await #expect(throws: MachineError.self) { _ = try await machine.up { _ in } }
    }

    @Test("A missing image is named, and nothing of the machine is left")
    func missingImage() async throws {
        let machine = try machine("a", "image.base = \"none.qcow2\"")
        let error = await failure(machine)
        #expect(error?.message == "there is no image at \(folder.path)/none.qcow2")
        #expect(!MachineFiles.exists(machine.files.directory))
    }

    @Test("The first up of a rum.toml says what it uses beyond its own folder, and nothing where that is all")
    func reach() async throws {
        let elsewhere = try TestFolder()
        let inside = try folder.file("k")
        let text = """
            image.base = "../\(elsewhere.path.split(separator: "/").last ?? "")/x.img"
            boot = { kernel = "\(inside)", initrd = "/dev/null" }
            ports = [ { host = 8080, guest = 80, bind = "0.0.0.0" }, { host = 8081, guest = 81 } ]
            auto_ports = { range = "5000-5001", bind = "::", rule = [ { on_open = "xdg-open {url}" } ] }
            """
        _ = try elsewhere.file("x.img")
        let machine = try machine("r", text)
        let told = Mutex<[String]>([])
        await #expect(throws: MachineError.self) {
            _ = try await machine.up { step in told.withLock { $0.append(step.sentence) } }
        }
        let line = try #require(told.withLock { $0.first })
        #expect(line.hasPrefix("\(folder.path)/r.rum.toml uses more than its own folder: the image "))
        #expect(
            line.hasSuffix(
                "x.img; the initrd /dev/null; your browser, to open pages of the guest (on_open); "
                    + "0.0.0.0:8080, which other hosts can reach; "
                    + "ports 5000-5001 of ::, which other hosts can reach"))
        let modest = try self.machine("s", "image.base = \"none.img\"\nboot = { kernel = \"k\" }")
        _ = try folder.file("none.img")
        #expect(modest.config.reach(beyond: folder.path) == [])
    }

    @Test("A file that is no image leaves nothing either")
    func notAnImage() async throws {
        let image = try folder.file("x.qcow2", "QFI\u{fb}")
        let machine = try machine("b", "image.base = \"x.qcow2\"")
        #expect(await failure(machine)?.kind == .image)
        #expect(!MachineFiles.exists(machine.files.directory))
        #expect(MachineFiles.exists(image))
    }

    @Test("A wrong sha256 of a local image is refused")
    func wrongDigest() async throws {
        _ = try write(sampleDisk(), to: folder.path + "/x.img")
        let machine = try machine(
            "c", "[image]\nbase = \"x.img\"\nsha256 = \"\(String(repeating: "0", count: 64))\"")
        #expect(await failure(machine)?.message.contains("but image.sha256 is 000") == true)
    }

    @Test("A kernel that cannot be read is named")
    func missingKernel() async throws {
        let machine = try machine("d", "[boot]\nkernel = \"k\"\ninitrd = \"i\"")
        #expect(await failure(machine)?.message == "cannot read \(folder.path)/k: No such file or directory")
    }

    @Test("A pipe in place of a kernel is refused at once", .timeLimit(.minutes(1)))
    func pipeAsKernel() async throws {
        #expect(mkfifo(folder.path + "/k", 0o600) == 0)
        let machine = try machine("k", "[boot]\nkernel = \"k\"\ninitrd = \"k\"")
        #expect(await failure(machine)?.message == "\(folder.path)/k is no regular file")
    }

    @Test("A missing agent bundle is named, with the way to make it")
    func missingBundle() async throws {
        let machine = try machine("e", "image.base = \"x.img\"", bundle: "/nonexistent.tar.gz")
        #expect(await failure(machine)?.hint.contains("`make bundle`") == true)
    }

    @Test("A start that fails half-way undoes the creation")
    func refusedStart() async throws {
        let base = try write(sampleDisk(), to: folder.path + "/base.img")
        let machine = try machine("f", "image.base = \"base.img\"")
        // The test driver starts it, but has no QEMU monitor through which to forward the agent's ports.
        #expect(await failure(machine)?.message.hasPrefix("cannot give QEMU the command ") == true)
        #expect(try await machine.hypervisor.state(of: machine.domain) == .absent)
        #expect(!MachineFiles.exists(machine.files.directory))
        #expect(MachineFiles.exists(base))
    }

    @Test("A domain of the same name that is not ours is left alone")
    func foreignDomain() async throws {
        let machine = try machine("foreign", "image.base = \"x.img\"")
        try await machine.hypervisor.define(
            "<domain type='test'><name>rum-foreign</name><memory>65536</memory><os><type>hvm</type></os></domain>"
        )
        let error = await failure(machine)
        #expect(error?.kind == .conflict)
        #expect(error?.message == "libvirt already has a domain rum-foreign that is not this machine")
        #expect(try await machine.hypervisor.state(of: "rum-foreign") == .stopped)
        #expect(!MachineFiles.exists(machine.files.directory))
        try await machine.hypervisor.stopAndForget("rum-foreign")
    }

    @Test("A name that another rum.toml uses is refused, and its machine kept")
    func nameTaken() async throws {
        let machine = try machine("g", "image.base = \"x.img\"")
        let other = try folder.file("other.rum.toml")
        try MachineFiles.makeDirectory(machine.files.directory)
        try MachineRecord(configFile: other).save(machine.files)
        #expect(await failure(machine)?.message == "the machine g belongs to \(other)")
        let error = await #expect(throws: MachineError.self) { _ = try await machine.destroy { _ in } }
        #expect(error?.kind == .conflict)
        #expect(machine.files.exists)
    }

    @Test("What was never created is neither stopped nor destroyed, and status says absent")
    func absent() async throws {
        let machine = try machine("h", "image.base = \"x.img\"")
        #expect(try await machine.down { _ in } == .wasNotRunning)
        #expect(try await machine.destroy { _ in } == false)
        let status = try await machine.status()
        #expect(status.state == .absent)
        #expect(status.directory == nil)
        #expect(!MachineFiles.exists(machine.files.directory))
    }

    @Test("A RUM_DOMAIN_TYPE that makes no sense is refused")
    func badOverride() async throws {
        let file = try folder.file(
            "i.rum.toml", "image.base = \"x.img\"\nadvanced.libvirt_uri = \"test:///default\"")
        let machine = VirtualMachine(
            config: try MachineConfig.load(path: file), agentBundle: "/dev/null",
            environment: ["RUM_HOME": folder.path + "/home", "RUM_DOMAIN_TYPE": "xen"])
        #expect(
            await failure(machine)?.message == "RUM_DOMAIN_TYPE is \"xen\"; auto, kvm or qemu was expected")
    }
}
