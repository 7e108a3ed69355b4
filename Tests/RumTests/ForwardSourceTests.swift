import AgentChannel
import Testing

@testable import rum

@Suite("Whose ports rum forward forwards")
struct ForwardSourceTests {
    @Test(
        "A machine behind ssh is what ssh takes for one",
        arguments: [
            ("ssh:dev@box", "dev@box"), ("ssh:box", "box"), ("ssh://dev@box:2200", "ssh://dev@box:2200"),
        ])
    func ssh(text: String, machine: String) throws {
        guard case .ssh(machine) = ForwardSource(argument: text) else {
            Issue.record("\(text) is not the machine \(machine)")
            return
        }
        #expect(ForwardSource.ssh(machine).description == text)
        try SSHDestination.check(machine)
    }

    @Test(
        "What ssh would take for an option, or for several words, is refused",
        arguments: ["", "-oX=y", "a b"])
    func refused(machine: String) { #expect(throws: (any Error).self) { try SSHDestination.check(machine) } }

    @Test("Anything else is an agent's address or nothing")
    func address() {
        guard case .address(.vsock(cid: 3)) = ForwardSource(argument: "vsock:3") else {
            Issue.record("vsock:3 is no address")
            return
        }
        #expect(ForwardSource(argument: "serial:1") == nil)
    }
}
