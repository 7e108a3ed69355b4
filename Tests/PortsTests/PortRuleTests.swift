import Linux
import Ports
import TestSupport
import Testing

@Suite("Rules for ports")
struct PortRuleTests {
    static func listener(_ address: IPAddress = .anyV4, _ process: ListeningProcess? = nil) -> ListeningSocket
    {
        ListeningSocket(address: address, port: port(5001), process: process)
    }

    @Test("What a rule does not name matches everything")
    func empty() { #expect(PortMatch().matches(Self.listener())) }

    @Test("All that a rule names has to match")
    func all() throws {
        var match = PortMatch()
        match.ports = [PortRange(text: "1-2"), PortRange(text: "5000-5001")].compactMap { $0 }
        match.process = try TextPattern(text: "node")
        #expect(match.matches(Self.listener(.anyV4, .init(pid: 1, name: "node"))))
        #expect(!match.matches(Self.listener(.anyV4, .init(pid: 1, name: "python3"))))
        match.ports = [PortRange(text: "5002")].compactMap { $0 }
        #expect(!match.matches(Self.listener(.anyV4, .init(pid: 1, name: "node"))))
    }

    @Test("What the guest has not told matches no pattern, not even one for all texts")
    func unknown() throws {
        var match = PortMatch()
        match.command = try TextPattern(text: "*")
        #expect(!match.matches(Self.listener()))
        #expect(!match.matches(Self.listener(.anyV4, .init(pid: 1, name: "node"))))
        #expect(match.matches(Self.listener(.anyV4, .init(pid: 1, name: "node", command: "node x"))))
        match = PortMatch()
        match.container = try TextPattern(text: "*")
        #expect(!match.matches(Self.listener(.anyV4, .init(pid: 1, name: "node"))))
        #expect(match.matches(Self.listener(.anyV4, .init(pid: 1, name: "node", container: "web"))))
    }

    @Test(
        "The address says how widely a program listens",
        arguments: [
            ("127.0.0.1", PortMatch.Scope.loopback, true), ("::1", .loopback, true),
            ("127.3.4.5", .loopback, true),
            ("0.0.0.0", .loopback, false), ("0.0.0.0", .wildcard, true), ("::", .wildcard, true),
            ("10.0.2.15", .wildcard, false), ("10.0.2.15", .loopback, false), ("10.0.2.15", .any, true),
        ])
    func scope(address: String, scope: PortMatch.Scope, matches: Bool) throws {
        var match = PortMatch()
        match.scope = scope
        #expect(match.matches(Self.listener(try #require(IPAddress(text: address)))) == matches)
    }

    @Test(
        "A range keeps its order on the host, as far as there are ports",
        arguments: [(5173, 15173), (5180, 15180), (60000, nil), (5000, 15000)] as [(UInt16, UInt16?)])
    func hostPort(guest: UInt16, host: UInt16?) {
        var rule = PortRule()
        rule.match.ports = [PortRange(text: "5173-60000")].compactMap { $0 }
        #expect(rule.hostPort(for: port(guest)) == port(guest))
        rule.firstHostPort = port(15173)
        #expect(rule.hostPort(for: port(guest)) == host.map(port))
    }
}
