import AgentChannel
import ArgumentParser
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
        guard case .ssh(machine) = try ForwardSource(text: text) else {
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

    @Test("The longest path of a socket is taken")
    func longest() throws {
        _ = try ForwardSource(text: "unix:/" + String(repeating: "a", count: 96))
        _ = try ForwardSource(text: "hybrid:/" + String(repeating: "a", count: 106))
    }

    @Test("Anything else is an agent's address")
    func address() throws {
        guard case .address(.vsock(cid: 3)) = try ForwardSource(text: "vsock:3") else {
            Issue.record("vsock:3 is no address")
            return
        }
    }

    @Test(
        "What is none says what was expected",
        arguments: [
            ("serial:1", "or ssh:[USER@]HOST"), ("vsock:2", "vsock:CID with a CID above 2"),
            ("tcp:127.0.0.1:99999", "a port below 65535"), ("unix:", "unix:DIR"),
            ("unix:/" + String(repeating: "a", count: 97), "at most 97 bytes, such as one from this folder"),
            (
                "hybrid:/" + String(repeating: "a", count: 108),
                "at most 107 bytes, such as one from this folder"
            ),
        ])
    func problem(text: String, expected: String) {
        let error = #expect(throws: ValidationError.self) { try ForwardSource(text: text) }
        #expect(error?.message.hasPrefix("expected ") == true && error?.message.hasSuffix(expected) == true)
    }
}
