import AgentChannel
import Linux
import Ports
import TestSupport
import Testing

@testable import rum

@Suite("What is asked of the guest's agent for a report")
struct GuestQuestionsTests {
    @Test(
        "An agent that takes a connection and says nothing holds a report up for two seconds", .tags(.timed))
    func silentAgent() async throws {
        let folder = try TestFolder()
        let agent = try StreamSocket.listen(on: .unix(path: folder.path + "/2222.sock"))
        let guest = GuestQuestions(address: .unix(directory: folder.path), token: nil)
        let start = ContinuousClock.now
        #expect(await guest.listeners(on: [try #require(PortNumber(80))]) == nil)
        #expect(start.duration(to: .now) < .milliseconds(3500))
        _ = agent.rawValue
    }
}
