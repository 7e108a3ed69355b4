import Linux
import RumConfig
import TestSupport
import Testing

@testable import Machine

@Suite("A machine's own loopback address")
struct OwnAddressTests {
    private static func machine(_ name: String, in folder: TestFolder) -> VirtualMachine {
        VirtualMachine(
            config: MachineConfig(name: name, file: "/x/rum.toml"), agentBundle: "",
            environment: ["RUM_HOME": folder.path])
    }

    @Test("It stays the machine's, also through a new start, and is given back with the machine's folder")
    func stays() async throws {
        let folder = try TestFolder()
        let machine = Self.machine("dev", in: folder)
        #expect(machine.ownAddress == nil)
        let address = try await machine.reserveOwnAddress()
        #expect(try await machine.reserveOwnAddress() == address)
        #expect(machine.ownAddress == address)
        #expect(address.isLoopback && address != .loopbackV4)
        try MachineFiles.remove(machine.files.directory)
        #expect(try await Self.machine("dev", in: folder).reserveOwnAddress() == address)
    }

    @Test("Machines that ask at the same time all get another one")
    func race() async throws {
        let folder = try TestFolder()
        let addresses = try await withThrowingTaskGroup(of: IPAddress.self) { group in
            for index in 0..<40 {
                group.addTask { try await Self.machine("m\(index)", in: folder).reserveOwnAddress() }
            }
            return try await group.reduce(into: Set<IPAddress>()) { $0.insert($1) }
        }
        #expect(addresses.count == 40)
    }

    @Test("A taken address, a copied one and a damaged one are not used")
    func conflicts() async throws {
        let folder = try TestFolder()
        let first = try await Self.machine("dev", in: folder).reserveOwnAddress()
        let other = Self.machine("other", in: folder)
        try other.files.makeDirectory()
        for text in ["\(first)\n", "127.0.0.1\n", "10.0.0.1\n", "x", ""] {
            try MachineFiles.write(Array(text.utf8), to: other.files.ownAddress)
            let address = try await other.reserveOwnAddress()
            #expect(address != first && address.isLoopback && address != .loopbackV4)
        }
    }

    @Test("Two users' machines of one name differ; no address ends in 0 or 255, and all are there")
    func candidates() {
        let mine = Array(OwnAddress.candidates(for: "dev", uid: 1000))
        #expect(Set(mine).count == 256 * 254)
        #expect(mine.allSatisfy { "\($0)".hasPrefix("127.168.") })
        #expect(mine.allSatisfy { ![0, 255].contains($0.networkBytes.last) })
        #expect(OwnAddress.candidates(for: "dev", uid: 1001).first { _ in true } != mine.first)
        #expect(OwnAddress.candidates(for: "dev", uid: 1000).first { _ in true } == mine.first)
    }
}
