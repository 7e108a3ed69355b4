import AgentChannel
import Foundation
import Glibc
import Linux
import LiveKernel
import RumConfig
import TestSupport
import Testing

@testable import Machine

/// Another user of the host, beside machines of this one.
@Suite("Another user's ways in", .enabled(if: geteuid() == 0, "needs a second user"))
struct OtherUserTests {
    let folder: TestFolder
    private var environment: [String: String] { ["RUM_HOME": folder.path + "/home"] }
    private var files: MachineFiles { MachineFiles(machine: "m", environment: environment) }

    init() throws {
        folder = try TestFolder()
        // As most homes are: others may look into it.
        #expect(chmod(folder.path, 0o755) == 0)
    }

    /// A machine with all that rum writes, its sockets included.
    private func make() throws -> OwnedDescriptor {
        try files.makeDirectory()
        try MachineRecord(configFile: "/x/rum.toml").save(files)
        try MachineFiles.write(Array((MachineToken.random().text + "\n").utf8), to: files.token)
        for path in [files.disk, files.seed, files.sshKey, files.consoleLog] {
            try MachineFiles.write([1], to: path)
        }
        return try ServiceSocket.listen(on: .unix(path: files.directory + "/up.sock"))
    }

    @Test("Can't read, replace or reach anything of a machine")
    func everyWay() async throws {
        let listener = try make()
        let paths = try FileManager.default.contentsOfDirectory(atPath: files.directory).map {
            "\(files.directory)/\($0)"
        }
        #expect(paths.count == 7)
        let directory = files.directory
        let done = try await OtherUser.run {
            var done: [String] = []
            func attempt(_ what: String, _ result: Int32) { if result >= 0 { done.append(what) } }
            attempt("list the folder", open(directory, O_RDONLY | O_DIRECTORY))
            attempt("make a file", open(directory + "/new", O_WRONLY | O_CREAT, 0o600))
            attempt("move the folder", rename(directory, directory + "2"))
            attempt("put a link beside it", symlink("/etc", directory + "2"))
            for path in paths {
                attempt("read \(path)", open(path, O_RDONLY))
                attempt("write \(path)", open(path, O_WRONLY))
                attempt("remove \(path)", unlink(path))
                attempt("link \(path)", link(path, "/tmp/rum-stolen"))
            }
            if (try? StreamSocket.connect(to: .unix(path: directory + "/up.sock"))) != nil {
                done.append("connect")
            }
            return done
        }
        #expect(done == [])
        _ = listener.rawValue
    }

    @Test("Can't connect to a socket in a folder that is open to all, not even while it is made")
    func socketInPublicFolder() async throws {
        #expect(chmod(folder.path, 0o777) == 0)
        let before = umask(0)
        let path = folder.path + "/2222.sock"
        let listener = try StreamSocket.listen(on: .unix(path: path))
        umask(before)
        #expect(try mode(of: path) == 0o600)
        let error = await #expect(throws: SystemError.self) {
            try await OtherUser.run { _ = try StreamSocket.connect(to: .unix(path: path)) }
        }
        #expect(error?.code == EACCES)
        _ = listener.rawValue
    }

    /// Where a folder of the other user stands in the way.
    enum Place: CaseIterable {
        case home, machines, machine, linkToTheirs, writableMachines
    }

    @Test(
        "Can't put a machine in the way: its record is not read, and no command uses it",
        arguments: Place.allCases)
    func foreign(place: Place) async throws {
        _ = try make()
        var record = MachineRecord(configFile: folder.path + "/rum.toml")
        record.libvirtURI = "qemu+ext:///session?command=\(folder.path)/program"
        try record.save(files)
        let machines = folder.path + "/home/machines"
        switch place {
        case .home: #expect(chown(folder.path + "/home", OtherUser.id, OtherUser.id) == 0)
        case .machines: #expect(chown(machines, OtherUser.id, OtherUser.id) == 0)
        case .machine: #expect(chown(files.directory, OtherUser.id, OtherUser.id) == 0)
        case .writableMachines: #expect(chmod(machines, 0o777) == 0)
        case .linkToTheirs:
            #expect(rename(machines, folder.path + "/real") == 0)
            #expect(symlink(folder.path + "/real", machines) == 0)
            #expect(lchown(machines, OtherUser.id, OtherUser.id) == 0)
        }
        let error = #expect(throws: MachineError.self) { try MachineRecord.load(files) }
        #expect(error?.kind == .permission && error?.hint.contains("RUM_HOME") == true)
        #expect(throws: MachineError.self) { try files.makeDirectory() }
        #expect(MachineFiles.names(environment: environment) == [])
        let machine = VirtualMachine(existing: "m", environment: environment)
        #expect(machine?.libvirtURI.contains("ext") != true)
        await #expect(throws: MachineError.self) { _ = try await machine?.destroy { _ in } }
        #expect(MachineFiles.exists(files.directory) || place == .linkToTheirs)
    }

    @Test("A link of one's own is followed: RUM_HOME may be on another disk")
    func ownLink() throws {
        let real = try folder.folder("real")
        #expect(symlink(real, folder.path + "/home") == 0)
        try files.makeDirectory()
        try MachineRecord(configFile: "/x/rum.toml").save(files)
        #expect(try MachineRecord.load(files) != nil)
        #expect(MachineFiles.names(environment: environment) == ["m"])
    }
}
