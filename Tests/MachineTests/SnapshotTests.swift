import Foundation
import TestSupport
import Testing

@testable import Machine

/// Compares a whole document with a file in Snapshots.
private func expectSnapshot(_ document: String, _ name: String) throws {
    #expect(try document == snapshot(of: document, name))
}

@Suite("Whole documents")
struct SnapshotTests {
    private static let machine = DomainXML(
        name: "rum-dev", uuid: "0b1c9a52-3f0e-4f6e-9d0a-6f2f0a3f7c11", accelerator: .kvm, machine: "q35",
        cpus: 2,
        memoryMB: 2048, disk: "/home/me/.local/share/rum/machines/dev/disk.qcow2",
        base: .init(path: "/home/me/debian.qcow2", format: "qcow2"),
        seed: "/home/me/.local/share/rum/machines/dev/seed.iso",
        consoleLog: "/home/me/.local/share/rum/machines/dev/console.log", hasVsock: true)

    private static let seed = GuestSeed(
        instanceID: "rum-6d2c7c9e-8a53-4a63-a6c5-0f5b8d1f2a33", hostname: "dev", user: "rum",
        authorizedKeys: ["ssh-ed25519 AAAAC3Nza me@here", "ssh-rsa AAAAB3 \"odd\" \\ name"],
        hostKey: SSHKeys.Host(
            privateKey: """
                -----BEGIN OPENSSH PRIVATE KEY-----
                b3BlbnNzaC1rZXktdjE
                -----END OPENSSH PRIVATE KEY-----

                """,
            publicKey: "ssh-ed25519 AAAAC3Nza rum-dev\n"),
        listen: ["vsock"], listenWithoutVsock: ["tcp:0.0.0.0:2222"],
        token: String(repeating: "0123456789abcdef", count: 4),
        bundleDigest: String(repeating: "fedcba9876543210", count: 4),
        systemScript: "apt-get update\n", bootScript: "#!/usr/bin/env python3\nprint('hello')", userID: 1042,
        mounts: [
            .init(type: "9p", tag: "rum1", isReadOnly: true, path: "/work/my data"),
            .init(type: "virtiofs", tag: "rum0", isReadOnly: false, path: "/work"),
        ])

    @Test("A machine with KVM and vsock that boots from its disk")
    func diskBoot() throws {
        try expectSnapshot(Self.machine.document, "disk-kvm-vsock.xml")
    }

    @Test("Folders of the host by virtiofs need shared memory, and UEFI is libvirt's to find")
    func mounts() throws {
        var machine = Self.machine
        machine.isEFI = true
        machine.mounts = [
            .init(isVirtiofs: true, path: "/home/me/a 'b' & c", tag: "rum0", isReadOnly: false),
            .init(isVirtiofs: true, path: "/srv", tag: "rum1", isReadOnly: true),
        ]
        try expectSnapshot(machine.document, "virtiofs-efi.xml")
        machine.isEFI = false
        machine.mounts = machine.mounts.map {
            var mount = $0
            mount.isVirtiofs = false
            return mount
        }
        try expectSnapshot(machine.document, "9p.xml")
    }

    @Test("An emulated machine without vsock whose kernel is booted directly")
    func kernelBoot() throws {
        var machine = Self.machine
        machine.accelerator = .qemu
        machine.hasVsock = false
        machine.kernel = DomainXML.Kernel(
            path: "/boot/vmlinuz", initrd: "/boot/initrd.img", commandLine: "root=/dev/vda rw console=ttyS0")
        try expectSnapshot(machine.document, "kernel-qemu-tcp.xml")
    }

    @Test("A machine that lives in its initrd has no disk but the seed")
    func initrdOnly() throws {
        var machine = Self.machine
        machine.accelerator = .qemu
        machine.machine = "pc"
        machine.disk = nil
        machine.kernel = DomainXML.Kernel(path: "/k", initrd: "/i", commandLine: "")
        try expectSnapshot(machine.document, "initrd-qemu-vsock.xml")
    }

    @Test("Nothing in a path or a command line can break out of the XML")
    func escaping() throws {
        var machine = Self.machine
        machine.disk = "/home/o'brien/<a> & \"b\"/disk.qcow2"
        machine.kernel = DomainXML.Kernel(path: "/é]]>\u{1}", initrd: nil, commandLine: "a='b' c=<d>\n&amp;")
        try expectSnapshot(machine.document, "escaped.xml")
    }

    @Test("Every file of a seed with both scripts")
    func seedFiles() throws {
        let files = Self.seed.files.sorted { $0.key < $1.key }
        try expectSnapshot(files.map { "==> \($0.key) <==\n\($0.value)" }.joined(), "seed.txt")
    }

    @Test(
        "Every script of the seed is one that sh can read",
        arguments: [
            "install", "make-user", "mount-folders", "read-seed", "rum-agent.init", "rum-agent.openrc",
            "provision",
            "provision-report", "provision-system",
        ])
    func shellSyntax(name: String) async throws {
        let folder = try TestFolder()
        let script = try folder.file(name, try #require(Self.seed.files[name]))
        let outcome = try await Tool(name: "sh", package: "dash").outcome(of: ["-n", script])
        #expect(outcome.succeeded, "\(outcome.complaint)")
    }

    @Test("The root user needs no account, and absent scripts are no files")
    func rootSeed() throws {
        var seed = Self.seed
        seed.user = "root"
        seed.systemScript = nil
        seed.bootScript = nil
        seed.listen = ["tcp:0.0.0.0:2222"]
        let files = seed.files
        #expect(files["provision-system"] == nil)
        #expect(files["provision-boot"] == nil)
        #expect(
            files["listen"] == "--listen tcp:0.0.0.0:2222\n")
        try expectSnapshot(try #require(files["user-data"]), "user-data-root.txt")
    }

    @Test(
        "A host name is made of letters, digits and hyphens",
        arguments: [("dev", "dev"), ("my_app.v2", "my-app-v2"), ("a.", "a-0")])
    func hostname(machine: String, expected: String) {
        #expect(GuestSeed.hostname(for: machine) == expected)
    }
}
