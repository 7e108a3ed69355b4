import Foundation
import Glibc
import RumConfig
import TestSupport
import Testing

@testable import Machine

@Suite("Folders of the host")
struct MountTests {
    private static func facts(_ change: (inout MountDriver.Facts) -> Void = { _ in }) -> MountDriver.Facts {
        var facts = MountDriver.Facts(
            hasVirtiofsd: true, libvirtVersion: 9_000_000, isSystemDaemon: true, hasQEMUOurRights: true)
        change(&facts)
        return facts
    }

    @Test("virtiofs where it can be, else 9p where QEMU has the user's rights, else a clear word")
    func choice() throws {
        let system = try MountDriver.choose(Self.facts())
        #expect(system.kind == .virtiofs)
        #expect(system.mayFallBack)
        #expect(!system.keepsReadOnly)
        #expect(try MountDriver.choose(Self.facts { $0.libvirtVersion = 11_000_000 }).keepsReadOnly)
        let old = try MountDriver.choose(Self.facts { $0.isSystemDaemon = false })
        #expect(old.kind == .ninePFS)
        #expect(old.reason == "9p, since virtiofs in a session needs libvirt 10")
        let new = Self.facts {
            $0.isSystemDaemon = false
            $0.libvirtVersion = 10_000_000
        }
        #expect(try MountDriver.choose(new).kind == .virtiofs)
        let none = try MountDriver.choose(Self.facts { $0.hasVirtiofsd = false })
        #expect(none.reason == "9p, since the host has no virtiofsd")
        #expect(none.keepsReadOnly)
        let error = #expect(throws: MachineError.self) {
            try MountDriver.choose(
                Self.facts {
                    $0.hasVirtiofsd = false
                    $0.hasQEMUOurRights = false
                })
        }
        #expect(error?.kind == .missingTool)
        #expect(error?.hint.contains("apt install virtiofsd") == true)
        #expect(try !MountDriver.choose(Self.facts { $0.hasQEMUOurRights = false }).mayFallBack)
    }

    @Test("virtiofsd is found by the descriptions that libvirt reads")
    func virtiofsd() throws {
        let folder = try TestFolder()
        let folders = [folder.path + "/none", folder.path]
        #expect(!VirtiofsProgram.isInstalled(folders: folders))
        _ = try folder.file("10-bad.json", "{")
        _ = try folder.file("20-gpu.json", "{\"type\": \"gpu\", \"binary\": \"/bin/sh\"}")
        _ = try folder.file("30-gone.json", "{\"type\": \"fs\", \"binary\": \"/nonexistent\"}")
        #expect(!VirtiofsProgram.isInstalled(folders: folders))
        _ = try folder.file("40-fs.json", "{\"type\": \"fs\", \"binary\": \"/bin/sh\", \"tags\": []}")
        #expect(VirtiofsProgram.isInstalled(folders: folders))
    }

    private func mount(_ host: String) -> MachineConfig.Mount { .init(host: host, guest: "/work") }

    @Test("A folder that is missing or none is told with its key")
    func missing() throws {
        let folder = try TestFolder()
        let gone = #expect(throws: MachineError.self) { try HostFolder(mount(folder.path + "/no"), index: 2) }
        #expect(gone?.message == "mounts[2].host: there is no folder \(folder.path)/no")
        let file = try folder.file("f")
        let plain = #expect(throws: MachineError.self) { try HostFolder(mount(file), index: 0) }
        #expect(plain?.message == "mounts[0].host: \(file) is not a folder")
    }

    @Test("A link that leads out of the folder of rum.toml does not hide where to")
    func outside() throws {
        let folder = try TestFolder()
        let project = try folder.folder("project")
        let source = try folder.folder("project/src")
        let beside = try folder.folder("project2")
        #expect(symlink("/usr", source + "/link") == 0)
        var config = MachineConfig(name: "m", file: project + "/rum.toml")
        config.mounts = [source, project, beside, source + "/link"].map(mount)
        config.mounts.append(.init(host: "/etc", guest: "/etc2", isReadOnly: true))
        #expect(
            config.reach(beyond: project) == [
                "the folder \(beside), to read and change", "the folder /usr, to read and change",
                "the folder /etc, to read",
            ])
    }

    @Test("The guest's user gets the ID of the host's user, or of the folder's owner when that is root")
    func userID() throws {
        let folder = try TestFolder()
        let work = try folder.folder("work")
        let user = geteuid()
        if user == 0 { #expect(chown(work, 1234, 1234) == 0) }
        let expected: UInt32? = user == 0 ? 1234 : user >= 1000 ? user : nil
        #expect(HostFolder.guestUserID([try HostFolder(mount(work), index: 0)]) == expected)
        #expect(HostFolder.guestUserID([]) == (user >= 1000 ? user : nil))
    }

    @Test("Which firmware can start a disk is read from its partition table")
    func firmware() async throws {
        let folder = try TestFolder()
        let cases: [(script: String, isEFI: Bool)] = [
            ("label: gpt\nsize=2MiB, type=uefi\ntype=linux\n", true),
            (
                "label: gpt\nsize=1MiB, type=21686148-6449-6E6F-744E-656564454649\nsize=2MiB, type=uefi\n",
                false
            ),
            ("label: gpt\ntype=linux\n", false), ("label: dos\nsize=2MiB, type=ef\n", true),
            ("label: dos\ntype=83, bootable\n", false),
        ]
        for (index, (script, isEFI)) in cases.enumerated() {
            let disk = try write([UInt8](repeating: 0, count: 8 << 20), to: "\(folder.path)/\(index).raw")
            let input = try folder.file("\(index).sfdisk", script)
            try await Tool(name: "sh", package: "dash").output(of: [
                "-c", "PATH=$PATH:/usr/sbin:/sbin sfdisk --quiet \"$0\" <\"$1\"", disk, input,
            ])
            let packed = disk + ".qcow2"
            try await Tool.qemuImg.output(of: ["convert", "-c", "-f", "raw", "-O", "qcow2", disk, packed])
            let scratch = folder.path + "/scratch"
            #expect(try await DiskStart.needsEFI(disk, format: .raw, scratch: scratch) == isEFI, "\(script)")
            #expect(
                try await DiskStart.needsEFI(packed, format: .qcow2, scratch: scratch) == isEFI, "\(script)")
            #expect(!MachineFiles.exists(scratch))
        }
        #expect(!DiskStart.needsEFI([]))
        #expect(!DiskStart.needsEFI(sampleDisk()))
    }
}
