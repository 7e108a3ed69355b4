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

    @Test("The token is made once, and what holds none is left as it is")
    func token() throws {
        let folder = try TestFolder()
        let path = folder.path + "/token"
        let token = try RemoteAgent.token(at: path)
        #expect(try RemoteAgent.token(at: path) == token)
        #expect(try readText(path) == token.text + "\n")
        _ = try folder.file("token", "mine\n")
        #expect(throws: MachineError.self) { try RemoteAgent.token(at: path) }
        #expect(try readText(path) == "mine\n")
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
        #expect(try mode(of: folder.path + "/agents") == 0o700)
    }

    private func mode(of path: String) throws -> Int {
        try #require(FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }
}
