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
    func empty() { #expect(PortMatch().verdict(on: Self.listener()) == .matches) }

    @Test("All that a rule names has to match")
    func all() throws {
        var match = PortMatch()
        match.ports = [PortRange(text: "1-2"), PortRange(text: "5000-5001")].compactMap { $0 }
        match.process = try TextPattern(text: "node")
        #expect(match.verdict(on: Self.listener(.anyV4, .init(pid: 1, name: "node"))) == .matches)
        #expect(match.verdict(on: Self.listener(.anyV4, .init(pid: 1, name: "python3"))) == .differs)
        match.ports = [PortRange(text: "5002")].compactMap { $0 }
        #expect(match.verdict(on: Self.listener(.anyV4, .init(pid: 1, name: "node"))) == .differs)
    }

    @Test("What depends on what the guest has not told yet is undecided, and nothing else is")
    func undecided() throws {
        var match = PortMatch()
        match.process = try TextPattern(text: "node")
        #expect(match.verdict(on: Self.listener()) == .undecided)
        match.command = try TextPattern(text: "*vite*")
        let node = ListeningProcess(pid: 1, name: "node")
        #expect(match.verdict(on: Self.listener()) == .undecided)
        #expect(match.verdict(on: Self.listener(.anyV4, node)) == .undecided)
        #expect(match.verdict(on: Self.listener(.anyV4, .init(pid: 1, name: "sh"))) == .differs)
        match.scope = .loopback
        #expect(match.verdict(on: Self.listener(.anyV4, node)) == .differs)
        #expect(match.verdict(on: Self.listener(.loopbackV4, node)) == .undecided)
    }

    @Test(
        "Command line and container",
        arguments: [
            ("*vite*", nil, "node vite", nil, true), ("*vite*", nil, "node", nil, false),
            ("*", nil, "", nil, true), (nil, "*", "node", nil, false), (nil, "web*", "node", "web-1", true),
            (nil, "web*", "node", "db-1", false), ("node", "web", "node", "web", true),
            ("node", "web", "sh", "web", false),
        ] as [(String?, String?, String, String?, Bool)])
    func details(
        _ commandPattern: String?, _ containerPattern: String?, command: String, container: String?,
        matches: Bool
    ) throws {
        var match = PortMatch()
        match.command = try commandPattern.map { try TextPattern(text: $0) }
        match.container = try containerPattern.map { try TextPattern(text: $0) }
        let process = ListeningProcess(
            pid: 1, name: "node", details: .init(command: command, container: container))
        #expect(match.verdict(on: Self.listener(.anyV4, process)) == (matches ? .matches : .differs))
    }

    @Test(
        "The address says how widely a program listens",
        arguments: [
            ("127.0.0.1", PortMatch.Scope.loopback, true), ("::1", .loopback, true),
            ("127.3.4.5", .loopback, true), ("0.0.0.0", .loopback, false), ("0.0.0.0", .wildcard, true),
            ("::", .wildcard, true), ("10.0.2.15", .wildcard, false), ("10.0.2.15", .loopback, false),
            ("10.0.2.15", .any, true),
        ])
    func scope(address: String, scope: PortMatch.Scope, matches: Bool) throws {
        var match = PortMatch()
        match.scope = scope
        let listener = Self.listener(try #require(IPAddress(text: address)))
        #expect(match.verdict(on: listener) == (matches ? .matches : .differs))
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
