import AgentChannel
import Foundation
import TestSupport
import Testing

@testable import Machine

@Suite("An agent behind ssh")
struct RemoteAgentTests {
    @Test(
        "What the scripts say tells how it went",
        arguments: [
            ("rum-install: begins\nrum-install: done\nrum-install: listening\n", true, nil, []),
            ("Welcome!\nrum-install: begins\n", false, nil, []),
            ("rum-install: warning: no room\nrum-install: listening", true, nil, ["no room"]),
            ("rum-install: failed at \"sudo -n\": no\n", false, "failed at \"sudo -n\": no", []),
            ("", false, nil, []),
        ] as [(String, Bool, String?, [String])])
    func outcome(text: String, isListening: Bool, failure: String?, warnings: [String]) {
        let outcome = AgentKit.Outcome(isListening: isListening, failure: failure, warnings: warnings)
        #expect(AgentKit.read(text) == outcome)
    }

    @Test("A file's token is used, and what holds none is refused and left as it is")
    func token() throws {
        let folder = try TestFolder()
        let path = folder.path + "/token"
        #expect(try RemoteAgent.token(at: path) == nil)
        let token = MachineToken.random()
        _ = try folder.file("token", token.text + "\n")
        #expect(try RemoteAgent.token(at: path) == token)
        _ = try folder.file("token", "mine\n")
        #expect(throws: MachineError.self) { try RemoteAgent.token(at: path) }
        #expect(try readText(path) == "mine\n")
    }

    @Test("An installation that fails leaves neither a token nor a folder behind")
    func failed() async throws {
        let folder = try TestFolder()
        let bundle = try folder.file("bundle", "agent")
        // No name that ssh would look up.
        let agent = try RemoteAgent(destination: "no such machine", environment: ["RUM_HOME": folder.path])
        let error = await #expect(throws: MachineError.self) {
            try await agent.install(bundle: bundle, tokenFile: agent.tokenFile)
        }
        #expect(error?.message.hasPrefix("ssh no such machine failed") ?? false)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path + "/agents").isEmpty)
        #expect(try mode(of: folder.path + "/agents") == 0o700)
    }

    @Test("Each machine has a folder that is no other's, whatever ssh calls it")
    func folders() throws {
        let folder = try TestFolder()
        let names = ["dev@box", "box", "ssh://dev@box:22", "../../etc", "."]
        let folders = try names.map {
            try RemoteAgent(destination: $0, environment: ["RUM_HOME": folder.path]).folder
        }
        let expected = ["dev@box", "box", "ssh%3a%2f%2fdev@box%3a22", "%2e.%2f..%2fetc", "%2e"]
        #expect(folders == expected.map { folder.path + "/agents/" + $0 })
    }

    private func mode(of path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }
}
