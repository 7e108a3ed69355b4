import Glibc
import Linux
import Ports
import RumConfig
import TestSupport
import Testing

@testable import Machine

@Suite("Answers about ports, as they are remembered")
struct PortConsentsTests {
    private static func machine(_ folder: TestFolder) throws -> VirtualMachine {
        let machine = VirtualMachine(
            config: MachineConfig(name: "dev", file: "/x/rum.toml"), agentBundle: "",
            environment: ["RUM_HOME": folder.path])
        try machine.files.makeDirectory()
        return machine
    }

    @Test("They last, are replaced and forgotten, and nobody else may read them")
    func lasts() async throws {
        let folder = try TestFolder()
        let machine = try Self.machine(folder)
        #expect(try machine.consents() == [:])
        try await machine.remember(.allow, about: port(5001))
        try await machine.remember(.allow, about: port(80))
        try await machine.remember(.deny, about: port(5001))
        let again = try Self.machine(folder)
        #expect(try again.consents() == [port(5001): .deny, port(80): .allow])
        #expect(try readText(machine.files.consents) == "{\"80\":\"allow\",\"5001\":\"deny\"}\n")
        var status = stat()
        #expect(stat(machine.files.consents, &status) == 0 && status.st_mode & 0o777 == 0o600)
        try await machine.remember(nil, about: port(80))
        #expect(try machine.consents() == [port(5001): .deny])
        try await machine.forgetConsents()
        #expect(try machine.consents() == [:])
    }

    @Test("Answers given at the same time are all kept")
    func race() async throws {
        let folder = try TestFolder()
        let machine = try Self.machine(folder)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 1...40 as ClosedRange<UInt16> {
                group.addTask { try await machine.remember(.allow, about: port(number)) }
            }
            try await group.waitForAll()
        }
        #expect(try machine.consents().count == 40)
    }

    @Test(
        "A damaged file is an error, also to a change, and never an answer",
        arguments: [
            "", "[]", "{", "{\"0\":\"allow\"}", "{\"x\":\"allow\"}", "{\"5001\":\"yes\"}", "{\"5001\":1}",
        ])
    func damaged(text: String) async throws {
        let folder = try TestFolder()
        let machine = try Self.machine(folder)
        try MachineFiles.write(Array(text.utf8), to: machine.files.consents)
        #expect(throws: MachineError.self) { try machine.consents() }
        await #expect(throws: MachineError.self) { try await machine.remember(.allow, about: port(1)) }
        #expect(try readText(machine.files.consents) == text)
    }
}
