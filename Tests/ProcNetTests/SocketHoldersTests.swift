import Foundation
import Ports
import ProcNet
import TestSupport
import Testing

@Suite("Who holds a socket")
struct SocketHoldersTests {
    @Test(
        "A socket is found behind each descriptor below the limit, the standard three among them",
        arguments: [0, 2, 3, 63] as [Int32])
    func descriptors(_ descriptor: Int32) throws {
        let root = try TestFolder()
        let folder = try root.folder("42/fd")
        _ = try root.file("42/comm", "server\n")
        try FileManager.default.createSymbolicLink(
            atPath: "\(folder)/\(descriptor)", withDestinationPath: "socket:[7]")
        let holders = SocketHolders(root: root.path)
        let holder = holders.holder(of: 7, pid: 42, limit: descriptor + 1)
        #expect(holder?.descriptor == descriptor)
        #expect(holder?.process == ListeningProcess(pid: 42, name: "server"))
        #expect(holders.holder(of: 8, pid: 42, limit: 64) == nil)
    }

    @Test(
        "Behind the limit a socket is found among the last numbers in use",
        arguments: [64, 65, 100, 127, 128, 3000] as [Int32])
    func newest(_ used: Int32) throws {
        let root = try TestFolder()
        let folder = try root.folder("42/fd")
        _ = try root.file("42/comm", "server\n")
        for descriptor in 0..<used {
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/\(descriptor)", withDestinationPath: "socket:[\(1000 + descriptor)]")
        }
        let holders = SocketHolders(root: root.path)
        for descriptor in max(0, used - 8)..<used {
            let holder = holders.holder(of: UInt64(1000 + descriptor), pid: 42, limit: 64)
            #expect(holder?.descriptor == descriptor)
        }
        #expect(holders.holder(of: 999, pid: 42, limit: 64) == nil)
    }

    @Test("All sockets of a process are read; other descriptors are none")
    func all() throws {
        let root = try TestFolder()
        let folder = try root.folder("42/fd")
        for descriptor in 0..<10 {
            try FileManager.default.createSymbolicLink(
                atPath: "\(folder)/\(descriptor)", withDestinationPath: "socket:[\(100 + descriptor)]")
        }
        let holders = SocketHolders(root: root.path)
        #expect(Set(holders.sockets(of: 42).map(\.inode)) == Set(100..<110))
        #expect(holders.sockets(of: 42).allSatisfy { $0.inode == 100 + UInt64($0.descriptor) })
        try FileManager.default.createSymbolicLink(atPath: "\(folder)/10", withDestinationPath: "/dev/null")
        #expect(Array(holders.sockets(of: 42)).count == 10)
        #expect(Array(holders.sockets(of: 43)).isEmpty)
    }
}
