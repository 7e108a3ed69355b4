import AgentAPI
import AgentChannel
import Control
import Foundation
import Ports
import RumConfig
import TestSupport
import Testing

@testable import Machine
@testable import rum

/// Whole answers of the commands that report, as people and as programs get them.
@Suite("What commands report")
struct OutputTests {
    private func expect(_ text: String, _ value: some Encodable, _ name: String) throws {
        #expect(try text + "\n" == snapshot(of: text + "\n", name + ".txt"))
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        let json = String(decoding: try encoder.encode(value), as: UTF8.self) + "\n"
        #expect(try json == snapshot(of: json, name + ".json"))
    }

    private func status(_ state: MachineState, isRunning: Bool) -> StatusDocument {
        let running = RunningMachine(
            address: .vsock(cid: 3), token: .random(), wasRunning: true, domainType: "kvm",
            accelerator: "KVM, since libvirt offers it", channel: "vsock, since /dev/vhost-vsock opens")
        return StatusDocument(
            MachineStatus(
                name: "dev", state: state, libvirtURI: "qemu:///session", directory: "/h/machines/dev",
                running: isRunning ? running : nil))
    }

    @Test("rum status of a machine whose ports are forwarded")
    func running() throws {
        var status = status(.running, isRunning: true)
        let source = ListenSource(mode: .netlink, push: .tracepoint)
        status.agent = StatusDocument.Agent(
            AgentInfo(
                version: "0.1.0", hostname: "dev", instanceID: "i", bootID: "b", source: source,
                monotonicTime: 1, startedAt: nil, forwardVersion: 2),
            address: .vsock(cid: 3))
        status.provisioning = ProvisionState(line: "failed system 7 12").map(StatusDocument.Provision.init)
        status.up = OwnerReport(
            pid: 7, isBackground: true, rum: rumVersion, forwards: PortsTableTests.forwards)
        status.up?.delivery = "stream"
        status.up?.autoRange = "5000-6000"
        status.up?.url = "http://dev.localhost:7000/"
        try expect(status.text, status, "status")
    }

    @Test("rum status of one whose agent does not answer, and of one that is stopped")
    func silent() throws {
        var lost = status(.running, isRunning: true)
        lost.agent = StatusDocument.Agent(problem: "no answer within 2 s", address: .vsock(cid: 3))
        try expect(lost.text, lost, "status-silent")
        let stopped = status(.stopped, isRunning: false)
        try expect(stopped.text, stopped, "status-stopped")
    }

    @Test("rum status says what the agent sees by, and why by nothing better")
    func degraded() {
        let source = ListenSource(mode: .procfs, push: .poll, degraded: "sock_diag is refused")
        let agent = StatusDocument.Agent(
            AgentInfo(
                version: "0.1.0", hostname: "dev", instanceID: "i", bootID: "b", source: source,
                monotonicTime: 1, startedAt: nil, forwardVersion: 2),
            address: .vsock(cid: 3))
        #expect(agent.text == "0.1.0, mode procfs, push poll, degraded: sock_diag is refused (vsock:3)")
        #expect(agent.degraded == "sock_diag is refused")
        let short = StatusDocument.Agent(
            AgentInfo(
                version: "0.1.0", hostname: "dev", instanceID: "i", bootID: "b",
                source: ListenSource(mode: .netlink, push: .tracepoint),
                pushReason: "no bpf events: not permitted",
                monotonicTime: 1, startedAt: nil, forwardVersion: 2),
            address: .vsock(cid: 3))
        #expect(short.text == "0.1.0, mode netlink, push tracepoint (no bpf events: not permitted) (vsock:3)")
    }

    @Test("rum list, with a machine that runs and one whose libvirt does not answer")
    func list() throws {
        let rows = [
            ListCommand.Row(
                name: "dev", state: "running", address: "vsock:3", ownAddress: "127.42.0.7",
                config: "/w/dev/rum.toml", directory: "/h/machines/dev",
                forwards: ["127.0.0.1:8080", "[::1]:5001"], url: "http://dev.localhost:7000/"),
            ListCommand.Row(
                name: "a-machine-with-a-long-name", state: "unknown", config: "/w/\u{1b}[2Jrum.toml",
                directory: "/h/machines/x", forwards: [],
                problem: "cannot connect to libvirt at qemu:///system"),
        ]
        try expect(rows.map(\.text).joined(separator: "\n"), rows, "list")
    }

    @Test("rum ports")
    func ports() throws {
        let forwards = PortsTableTests.forwards
        let table = PortsTable(forwards, isGuestKnown: true).lines(width: nil).joined(separator: "\n")
        try expect(table, forwards, "ports")
    }

    @Test("rum doctor, with a finding of each kind")
    func doctor() throws {
        let findings = [
            HostFinding("libvirt", .ok, "libvirt 9.0.0 answers at qemu:///session"),
            HostFinding("firmware", .warn, "libvirt has no UEFI for guests", cure: "apt install ovmf"),
            HostFinding("rum.toml", .fail, "rum.toml:1: one\nrum.toml:2: two", cure: "Correct it."),
        ]
        let text = findings.map { DoctorCommand.text($0, isColoured: false) }.joined(separator: "\n")
        try expect(text, DoctorCommand.Report(ok: false, findings: findings), "doctor")
    }

    @Test("rum images list, with a name that is not cached and a cached image that has none")
    func images() throws {
        var cached = ImagesCommand.Row(nil, nil)
        cached.path = "/c/images/0123456789abcdef-disk.qcow2"
        cached.size = 336_592_896
        cached.inUse = true
        let named = try #require(NamedImage.all.first { $0.name == "debian-12" })
        let rows = [ImagesCommand.Row(named, nil), cached]
        try expect(rows.map(\.text).joined(separator: "\n"), rows, "images")
    }
}
