import Synchronization
import Testing

@testable import Machine

/// The `test:` driver keeps its domains in the memory of this process, and reports real lifecycle events.
@Suite("libvirt's test driver")
struct LifecycleTests {
    private static func document(_ name: String) -> String {
        "<domain type='test'><name>\(name)</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>"
    }

    private static func hypervisor() async throws -> Hypervisor {
        let hypervisor = Hypervisor(uri: "test:///default")
        try await hypervisor.open()
        return hypervisor
    }

    @Test("A domain is defined, started, stopped and forgotten")
    func lifecycle() async throws {
        let hypervisor = try await Self.hypervisor()
        #expect(try await hypervisor.state(of: "rum-t") == .absent)
        #expect(try await hypervisor.uuid(of: "rum-t") == nil)
        try await hypervisor.define(Self.document("rum-t"))
        #expect(try await hypervisor.state(of: "rum-t") == .stopped)
        #expect(try await hypervisor.start("rum-t") == nil)
        #expect(try await hypervisor.state(of: "rum-t") == .running)
        #expect(try await hypervisor.xml(of: "rum-t")?.contains("<name>rum-t</name>") == true)
        try await hypervisor.forceOff("rum-t")
        try await hypervisor.forceOff("rum-t")
        #expect(try await hypervisor.state(of: "rum-t") == .stopped)
        try await hypervisor.stopAndForget("rum-t")
        try await hypervisor.stopAndForget("rum-t")
        #expect(try await hypervisor.state(of: "rum-t") == .absent)
        await hypervisor.close()
    }

    @Test("A running domain whose definition somebody has removed is ended and forgotten")
    func withoutDefinition() async throws {
        let hypervisor = try await Self.hypervisor()
        try await hypervisor.define(Self.document("rum-bare"))
        #expect(try await hypervisor.start("rum-bare") == nil)
        try await hypervisor.undefine("rum-bare")
        #expect(try await hypervisor.state(of: "rum-bare") == .running)
        try await hypervisor.stopAndForget("rum-bare")
        #expect(try await hypervisor.state(of: "rum-bare") == .absent)
        await hypervisor.close()
    }

    @Test("Events arrive in order, and only those of the machine")
    func events() async throws {
        let hypervisor = try await Self.hypervisor()
        try await hypervisor.define(Self.document("rum-events"))
        try await hypervisor.define(Self.document("rum-other"))
        let events = try await hypervisor.withEvents(of: "rum-events") { stream in
            _ = try? await hypervisor.start("rum-other")
            _ = try? await hypervisor.start("rum-events")
            try? await hypervisor.forceOff("rum-events")
            var events: [MachineEvent] = []
            for await event in stream {
                events.append(event)
                if case .stopped = event { break }
            }
            return events
        }
        #expect(events == [.started, .stopped(.destroyed)])
        try await hypervisor.stopAndForget("rum-events")
        try await hypervisor.stopAndForget("rum-other")
    }

    @Test("Starting what does not exist says so")
    func missing() async throws {
        let hypervisor = try await Self.hypervisor()
        let error = await #expect(throws: MachineError.self) { try await hypervisor.start("rum-none") }
        #expect(error?.kind == .notCreated)
    }

    @Test("Malformed XML is refused with libvirt's own words")
    func badDocument() async throws {
        let hypervisor = try await Self.hypervisor()
        let error = await #expect(throws: MachineError.self) { try await hypervisor.define("<domain>") }
        #expect(error?.kind == .startFailed)
        #expect(error?.message.hasPrefix("cannot define the machine: ") == true)
    }

    @Test("A daemon that is not there is named, with the cure")
    func noDaemon() async throws {
        let hypervisor = Hypervisor(uri: "qemu:///system?socket=/nonexistent/libvirt-sock")
        let error = await #expect(throws: MachineError.self) { try await hypervisor.open() }
        #expect(error?.kind == .noLibvirt)
        #expect(error?.message.contains("/nonexistent/libvirt-sock") == true)
        #expect(error?.hint.contains("systemctl start libvirtd") == true)
    }

    @Test("The test driver offers no KVM, which is an answer and no failure")
    func noCapabilities() async throws {
        let hypervisor = try await Self.hypervisor()
        #expect(try await hypervisor.kvmRefusal(machine: "q35") != nil)
        #expect(try await hypervisor.qemuUser() == nil)
    }

    @Test("A forgotten connection is opened again by the next use")
    func reopen() async throws {
        let hypervisor = try await Self.hypervisor()
        await hypervisor.close()
        #expect(try await hypervisor.state(of: "rum-none") == .absent)
    }
}
