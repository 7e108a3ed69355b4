import Linux
import PortForward
import Ports
import TestSupport
import Testing

@Suite("Rules of the forward policy")
struct RulePolicyTests {
    static func rule(_ ports: String? = nil, _ edit: (inout PortRule) -> Void = { _ in }) -> PortRule {
        var rule = PortRule()
        rule.match.ports = [ports.flatMap { PortRange(text: $0) }].compactMap { $0 }
        edit(&rule)
        return rule
    }

    static func policy(_ rules: [PortRule], fixed: [StaticPort] = []) -> ForwardPolicy {
        ForwardPolicy(
            staticPorts: fixed,
            autoPorts: PortRange(port(5000), port(6000)).map {
                .init(range: $0, ignore: [port(5353)], rules: rules)
            })
    }

    func wanted(_ policy: ForwardPolicy, _ table: ListenTable) -> [String] {
        policy.wanted(in: table).map {
            "\($0.key.hostPort)>\($0.key.guestPort)" + ($0.rule?.label.map { " \($0)" } ?? "")
        }
    }

    @Test("The first rule that matches wins")
    func firstWins() {
        let policy = Self.policy([
            Self.rule("5001") { $0.label = "one" }, Self.rule("5001-5003") { $0.action = .ignore },
            Self.rule("5003") { $0.label = "never" }, Self.rule { $0.label = "rest" },
        ])
        #expect(
            wanted(policy, table([5001, 5002, 5003, 5004, 5353, 7000])) == [
                "5001>5001 one", "5004>5004 rest",
            ])
        #expect(policy.rule(for: port(5003), in: table([5003]))?.action == .ignore)
        #expect(policy.rule(for: port(5003), in: nil)?.action == .ignore)
        #expect(policy.rule(for: port(7000), in: table([7000])) == nil)
    }

    @Test("A range is moved on the host, and a static forward keeps its host port")
    func moved() {
        let rules = [Self.rule("5001-5010") { $0.firstHostPort = port(8001) }]
        #expect(
            wanted(Self.policy(rules), table([5001, 5004, 5020])) == ["8001>5001", "8004>5004", "5020>5020"])
        let fixed = [StaticPort(host: port(8004), guest: port(80))]
        #expect(wanted(Self.policy(rules, fixed: fixed), table([5001, 5004])) == ["8004>80", "8001>5001"])
        var next = rules
        next[0].onConflict = .next
        #expect(
            wanted(Self.policy(next, fixed: fixed), table([5001, 5004])) == [
                "8004>80", "8001>5001", "8004>5004",
            ])
    }

    @Test("Of several listeners on a port, one that matches is enough, and is the one that is shown")
    func severalListeners() throws {
        let source = ListenSource(mode: .netlink, push: .poll)
        let table = ListenTable(
            revision: 1, source: source,
            listeners: [
                .init(address: .loopbackV4, port: port(5001), process: .init(pid: 1, name: "node")),
                .init(address: .anyV6, port: port(5001), process: .init(pid: 2, name: "nginx")),
            ])
        let nginx = try TextPattern(text: "nginx")
        let forward = Self.policy([Self.rule { $0.match.process = nginx }]).wanted(in: table)
        #expect(forward.map(\.listener?.process?.pid) == [2])
        let ignore = Self.rule { rule in
            rule.match.process = nginx
            rule.match.scope = .loopback
            rule.action = .ignore
        }
        // Each matches one half of the rule.
        #expect(wanted(Self.policy([ignore]), table) == ["5001>5001"])
    }

    @Test(
        "What some guest could have opened is known beforehand",
        arguments: [
            (5001, true), (5002, false), (5353, false), (4999, false), (8003, true), (8004, false),
            (5003, false),
            (5010, true), (9000, true),
        ] as [(UInt16, Bool)])
    func mayOpen(host: UInt16, may: Bool) throws {
        let process = try TextPattern(text: "x")
        let rules = [
            Self.rule("5010") { rule in
                rule.match.process = process
                rule.action = .ignore
            },
            Self.rule("5002") { $0.action = .ignore }, Self.rule("5003") { $0.firstHostPort = port(8003) },
        ]
        let fixed = [StaticPort(host: port(9000), guest: port(90))]
        #expect(Self.policy(rules, fixed: fixed).mayOpen(port(host)) == may)
        let next = rules + [Self.rule("5900") { $0.onConflict = .next }]
        #expect(Self.policy(next).mayOpen(port(host)))
    }

    // MARK: Random policies

    /// Rules and tables over few ports and names, so that they meet.
    private struct Sample {
        var random: SeededGenerator
        let names = ["node", "nginx", "sh"]
        let addresses: [IPAddress] = [.anyV4, .anyV6, .loopbackV4, .loopbackV6]

        mutating func rule() throws -> PortRule {
            var rule = PortRule()
            if Bool.random(using: &random) {
                let lower = UInt16.random(in: 4995...5012, using: &random)
                let upper = lower + UInt16.random(in: 0...4, using: &random)
                rule.match.ports = [PortRange(port(lower), port(upper))].compactMap { $0 }
                if Int.random(in: 0..<3, using: &random) == 0 { rule.firstHostPort = port(lower + 1000) }
            }
            if Bool.random(using: &random) { rule.match.process = try TextPattern(text: name()) }
            rule.match.scope = PortMatch.Scope.allCases.randomElement(using: &random) ?? .any
            rule.action = PortRule.Action.allCases.randomElement(using: &random) ?? .forward
            rule.onConflict = PortRule.ConflictChoice.allCases.randomElement(using: &random) ?? .wait
            rule.line = Int.random(in: 1...Int.max, using: &random)
            return rule
        }

        mutating func name() -> String { names.randomElement(using: &random) ?? "" }

        mutating func table() -> ListenTable {
            let listeners = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                ListeningSocket(
                    address: addresses.randomElement(using: &random) ?? .anyV4,
                    port: port(UInt16.random(in: 4995...5015, using: &random)),
                    process: Bool.random(using: &random) ? ListeningProcess(pid: 1, name: name()) : nil)
            }
            return ListenTable(
                revision: 1, source: ListenSource(mode: .netlink, push: .poll), listeners: listeners)
        }

        mutating func policy() throws -> ForwardPolicy {
            var rules: [PortRule] = []
            for _ in 0..<Int.random(in: 0...5, using: &random) { rules.append(try rule()) }
            let fixed = (0..<Int.random(in: 0...2, using: &random)).map { index in
                StaticPort(
                    host: port(UInt16.random(in: 5998...6012, using: &random) + UInt16(index) * 100),
                    guest: port(UInt16.random(in: 5000...5010, using: &random)))
            }
            let range = PortRange(port(5000), port(5010))
            var policy = ForwardPolicy(
                staticPorts: fixed,
                autoPorts: range.map { .init(range: $0, ignore: [port(5005)], rules: rules) })
            for number in UInt16(5000)...5010 {
                policy.answers[port(number)] = [nil, .allow, .deny].randomElement(using: &random) ?? nil
            }
            return policy
        }
    }

    /// The rules, said once more and as plainly as possible.
    private static func expected(_ policy: ForwardPolicy, _ table: ListenTable, _ guest: PortNumber)
        -> String?
    {
        guard let auto = policy.autoPorts, auto.range.contains(guest), !auto.ignore.contains(guest),
            !policy.staticPorts.contains(where: { $0.guest == guest })
        else { return nil }
        let listeners = table.listeners.filter { $0.port == guest }
        if listeners.isEmpty { return nil }
        var asks = false
        for rule in auto.rules {
            let verdicts = listeners.map { rule.match.verdict(on: $0) }
            asks = asks || rule.action == .ask && verdicts.contains { $0 != .differs }
            guard verdicts.contains(.matches) else { continue }
            guard rule.action != .ignore, let host = rule.hostPort(for: guest) else { return nil }
            let isTaken = policy.staticPorts.contains { $0.host == host }
            if isTaken, rule.onConflict != .next { return nil }
            return answered(policy, guest, asks, "\(host) \(rule.onConflict) \(rule.line ?? 0)")
        }
        return policy.staticPorts.contains { $0.host == guest }
            ? nil : answered(policy, guest, asks, "\(guest) wait 0")
    }

    private static func answered(
        _ policy: ForwardPolicy, _ guest: PortNumber, _ asks: Bool, _ forward: String
    ) -> String? {
        guard asks else { return forward }
        switch policy.answers[guest] {
        case .allow: return forward
        case .deny: return nil
        case nil: return forward + " asks"
        }
    }

    @Test("Each port becomes what the first matching rule says, and nothing else does", arguments: 1...300)
    func properties(seed: UInt64) throws {
        var sample = Sample(random: SeededGenerator(seed: seed))
        let (policy, table) = (try sample.policy(), sample.table())
        let wanted = policy.wanted(in: table)
        #expect(wanted.prefix(policy.staticPorts.count).allSatisfy { $0.key.kind == .static })
        let automatic = wanted.dropFirst(policy.staticPorts.count)
        #expect(automatic.allSatisfy { $0.key.kind == .auto && $0.listener?.port == $0.key.guestPort })
        #expect(Set(wanted.map(\.key)).count == wanted.count)
        // Sorted, and so once each.
        let guests = automatic.map(\.key.guestPort)
        #expect(zip(guests, guests.dropFirst()).allSatisfy { $0 < $1 })
        for number in UInt16(4990)...5020 {
            let found = automatic.first { $0.key.guestPort == port(number) }.map {
                "\($0.key.hostPort) \($0.key.onConflict) \($0.rule?.line ?? 0)\($0.needsAnswer ? " asks" : "")"
            }
            #expect(found == Self.expected(policy, table, port(number)))
        }

        // A rule at the end changes nothing for the ports that an earlier one matches.
        var longer = policy
        longer.autoPorts?.rules.append(try sample.rule())
        let ruled = automatic.filter { $0.rule != nil }
        #expect(Set(longer.wanted(in: table)).isSuperset(of: ruled))
        // One in front that ignores everything leaves the static forwards.
        var closed = policy
        closed.autoPorts?.rules.insert(Self.rule { $0.action = .ignore }, at: 0)
        #expect(closed.wanted(in: table) == Array(wanted.prefix(policy.staticPorts.count)))
    }
}
