import Ports
import TestSupport
import Testing

@testable import rum

@Suite("Rules that an agent cannot serve")
struct BlindRulesTests {
    @Test("Rules by command line and container are named by their lines; others need no word")
    func lines() throws {
        var (command, container, process) = (PortRule(), PortRule(), PortRule())
        (command.match.command, command.line) = (try TextPattern(text: "*vite*"), 4)
        (container.match.container, container.line) = (try TextPattern(text: "db"), 9)
        (process.match.process, process.line) = (try TextPattern(text: "node"), 12)
        let range = try #require(PortRange(text: "5000-5999"))
        #expect(AutoPorts(range: range, rules: [process]).warningWithoutDetails == nil)
        let warning = AutoPorts(range: range, rules: [command, process, container]).warningWithoutDetails
        #expect(warning?.hasSuffix("(line 4, 9)") == true)
    }
}
