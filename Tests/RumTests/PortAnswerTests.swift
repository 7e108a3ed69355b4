import Control
import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@testable import rum

@Suite("Why a port is or is not forwarded")
struct PortAnswerTests {
    /// One row: the facts, the word for programs, whether it is forwarded, and the sentence.
    struct Row: CustomTestStringConvertible, Sendable {
        var reason: String
        var isDone = false
        var sentence: String
        var hint: String?
        var facts: PortFacts

        var testDescription: String { "\(reason): \(sentence)" }
    }

    static let policy = ForwardPolicy(
        staticPorts: [
            StaticPort(host: port(8080), guest: port(80)), StaticPort(host: port(5500), guest: port(90)),
        ],
        autoPorts: PortRange(port(5000), port(6000)).map { .init(range: $0, ignore: [port(5353)]) })

    static func facts(
        _ number: UInt16, _ forward: OwnerReport.Forward? = nil, agent: PortFacts.Agent = .answers,
        holdBack: HoldBack? = nil, rule: PortRule? = nil, listeners: [PortFacts.Listener]? = [],
        policy: ForwardPolicy = policy
    ) -> PortFacts {
        PortFacts(
            port: port(number), policy: policy, forwards: [forward].compactMap { $0 }, agent: agent,
            holdBack: holdBack, rule: rule, listeners: listeners, sawOtherNamespaces: true)
    }

    static func rule(_ edit: (inout PortRule) -> Void) -> PortRule {
        var rule = PortRule()
        rule.line = 14
        edit(&rule)
        return rule
    }

    /// A forward that a rule on line 14 decided about.
    static func ruled(
        _ forward: OwnerReport.Forward, label: String? = nil, _ choice: PortRule.ConflictChoice = .wait,
        detour: String? = nil
    ) -> OwnerReport.Forward {
        var forward = forward
        forward.label = label
        forward.ruleLine = 14
        forward.onConflict = choice.rawValue
        forward.reason = detour ?? forward.reason
        return forward
    }

    static var asking: OwnerReport.Forward {
        var asking = ruled(forward(5432, 5432), label: "db")
        (asking.state, asking.process, asking.pid) = ("asking", "postgres", 9)
        asking.reason = "waits for your answer"
        return asking
    }

    static var denied: ForwardPolicy {
        var denied = policy
        denied.answers = [port(5432): .deny]
        return denied
    }

    static var unprivileged: PortFacts {
        var facts = facts(
            80, forward(80, 80, kind: "static", blocked: "127.0.0.1:80: Permission denied (...)"))
        facts.failures = [
            BindFailure(
                address: HostAddress(address: .loopbackV4, port: port(80)),
                error: SystemError(code: EACCES, operation: "bind"))
        ]
        return facts
    }

    static func forward(
        _ host: UInt16, _ guest: UInt16, kind: String = "auto", blocked reason: String? = nil
    ) -> OwnerReport.Forward {
        var forward = OwnerReport.Forward(
            kind: kind, bind: "127.0.0.1", hostPort: host, guestPort: guest,
            state: reason == nil ? "open" : "blocked")
        forward.reason = reason
        return forward
    }

    static func listener(
        _ number: UInt16, _ address: IPAddress = .anyV4, waiting: UInt32? = nil, isFull: Bool = false,
        namespace: UInt64? = nil, container: String? = nil, interface: UInt32 = 0, process: String? = "node"
    ) -> PortFacts.Listener {
        PortFacts.Listener(
            socket: ListeningSocket(
                address: address, port: port(number), interfaceIndex: interface,
                process: process.map { ListeningProcess(pid: 812, name: $0) }),
            waiting: waiting, isQueueFull: isFull, namespace: namespace, container: container)
    }

    static var held: OwnerReport.Forward {
        var forward = forward(5173, 5173)
        forward.state = "held"
        return forward
    }

    static let rows: [Row] = [
        Row(
            reason: "held",
            sentence:
                "127.0.0.1:5173 → guest:5173 is open, and its clients wait: nothing listens on guest port 5173 at the moment",
            hint: "start the program in the guest; after the rule's `hold` the port closes",
            facts: facts(5173, held)),
        Row(
            reason: "forwarded", isDone: true,
            sentence: "127.0.0.1:5001 → guest:5001, where node (pid 812) listens on 0.0.0.0",
            facts: facts(5001, forward(5001, 5001), listeners: [listener(5001)])),
        Row(
            reason: "forwarded", isDone: true,
            sentence: "127.0.0.1:8080 → guest:80, where node (pid 812) listens on ::1",
            facts: facts(80, forward(8080, 80, kind: "static"), listeners: [listener(80, .loopbackV6)])),
        Row(
            reason: "forwarded", isDone: true, sentence: "127.0.0.1:5001 → guest:5001",
            facts: facts(5001, forward(5001, 5001), listeners: nil)),
        Row(
            reason: "forwarded", isDone: true,
            sentence:
                "127.0.0.1:5001 → guest:5001 is open, but the guest's agent does not answer, so what listens there is unknown",
            facts: facts(5001, forward(5001, 5001), agent: .lost("gone"), listeners: nil)),
        Row(
            reason: "nothing_listens",
            sentence:
                "127.0.0.1:8080 → guest:80 is open, but nothing listens on guest port 80, so connections are reset",
            hint: "start the program in the guest",
            facts: facts(8080, forward(8080, 80, kind: "static"))),
        Row(
            reason: "not_accepting",
            sentence:
                "127.0.0.1:5001 → guest:5001 is open, but node (pid 812) does not accept: 6 connections wait, which fills its queue",
            hint: "the program hangs",
            facts: facts(5001, forward(5001, 5001), listeners: [listener(5001, waiting: 6, isFull: true)])),
        Row(
            reason: "other_namespace",
            sentence:
                "127.0.0.1:8080 → guest:80 is open, but node (pid 812) listens on 0.0.0.0:80 inside docker container 3f2a, which the agent cannot dial",
            hint: "publish the port",
            facts: facts(
                80, forward(8080, 80, kind: "static"),
                listeners: [listener(80, namespace: 4, container: "docker container 3f2a")])),
        Row(
            reason: "other_namespace",
            sentence:
                "node (pid 812) listens on 127.0.0.1:5001 inside docker container 3f2a, which the agent cannot dial",
            hint: "docker run -p 5001:5001",
            facts: facts(
                5001,
                listeners: [listener(5001, .loopbackV4, namespace: 4, container: "docker container 3f2a")])),
        Row(
            reason: "other_namespace",
            sentence:
                "a program listens on 0.0.0.0:5001 inside another network namespace of the guest, which the agent cannot dial",
            hint: "outside of that namespace",
            facts: facts(5001, listeners: [listener(5001, namespace: 4, process: nil)])),
        Row(
            reason: "out_of_range",
            sentence: "4000 is out of the range 5000-6000 of [auto_ports], and no [[ports]] names it",
            hint: "rum ports add 4000:4000", facts: facts(4000)),
        Row(
            reason: "out_of_range",
            sentence: "rum.toml has no [auto_ports], and no [[ports]] for guest port 4000",
            hint: "set auto_ports.range", facts: facts(4000, policy: ForwardPolicy())),
        Row(
            reason: "asking",
            sentence:
                "guest port 5432, where postgres (pid 9) listens, waits for your answer, by the rule \"db\" on line 14 of rum.toml",
            hint: "rum ports allow 5432, or rum ports deny 5432", facts: facts(5432, asking)),
        Row(
            reason: "denied",
            sentence: "5432 is denied by your answer, for which the rule on line 14 of rum.toml asks",
            hint: "rum ports allow 5432",
            facts: facts(5432, rule: rule { $0.action = .ask }, policy: denied)),
        Row(
            reason: "nothing_listens", sentence: "nothing in the guest listens on 5001",
            facts: facts(5001, rule: rule { $0.action = .ask }, policy: denied)),
        Row(
            reason: "ignored", sentence: "5353 is in auto_ports.ignore", hint: "rum ports add 5353:5353",
            facts: facts(5353)),
        Row(
            reason: "ignored", sentence: "5432 is ignored by the rule \"db\" on line 14 of rum.toml",
            hint: "rum ports add 5432:5432",
            facts: facts(
                5432,
                rule: rule {
                    $0.action = .ignore
                    $0.label = "db"
                })),
        Row(
            reason: "forwarded", isDone: true,
            sentence:
                "127.0.0.1:8001 → guest:5001, where node (pid 812) listens on 0.0.0.0, by the rule \"web\" on line 14 of rum.toml",
            facts: facts(5001, ruled(forward(8001, 5001), label: "web"), listeners: [listener(5001)])),
        Row(
            reason: "forwarded", isDone: true,
            sentence:
                "127.0.0.1:5003 → guest:5001, where node (pid 812) listens on 0.0.0.0, since 127.0.0.1:5001 is taken, by the rule on line 14 of rum.toml",
            facts: facts(
                5001, ruled(forward(5003, 5001), .next, detour: "127.0.0.1:5001 is taken"),
                listeners: [listener(5001)])),
        Row(
            reason: "busy_on_host",
            sentence:
                "127.0.0.1:5002 is held by node (pid 4121), so guest port 5002 is not forwarded until its listener goes and comes again, by the rule on line 14 of rum.toml",
            hint: "rum ports add 15002:5002",
            facts: facts(
                5002,
                ruled(forward(5002, 5002, blocked: "127.0.0.1:5002 is held by node (pid 4121)"), .fail))),
        Row(
            reason: "taken_by_static",
            sentence: "host port 8080 is taken by the static forward to guest port 80",
            facts: facts(
                5010,
                rule: rule {
                    $0.match.ports = [PortRange(port(5010), port(5010))].compactMap { $0 }
                    $0.firstHostPort = port(8080)
                }, listeners: [listener(5010)])),
        Row(
            reason: "taken_by_static",
            sentence: "host port 5500 is taken by the static forward to guest port 90",
            facts: facts(5500, listeners: [listener(5500)])),
        Row(
            reason: "busy_on_host",
            sentence: "127.0.0.1:5002 is held by node (pid 4121), so guest port 5002 waits for it",
            hint: "rum ports add 15002:5002",
            facts: facts(5002, forward(5002, 5002, blocked: "127.0.0.1:5002 is held by node (pid 4121)"))),
        Row(
            reason: "not_permitted", sentence: "127.0.0.1:80 cannot be bound: Permission denied",
            hint: "setcap",
            facts: unprivileged),
        Row(
            reason: "agent_missing",
            sentence: "the guest's agent has not answered yet, so what listens there is unknown: it boots",
            hint: "rum logs", facts: facts(5001, agent: .missing("it boots"), listeners: nil)),
        Row(
            reason: "agent_lost",
            sentence: "the guest's agent is lost, so what listens there is unknown: the connection broke",
            hint: "rum logs --agent", facts: facts(5001, agent: .lost("the connection broke"), listeners: nil)
        ),
        Row(
            reason: "held_back",
            sentence: "5001 opens and closes too often, so it is forwarded a little later than it listens",
            hint: "rum ports wait 5001",
            facts: facts(5001, holdBack: .changesTooOften, listeners: [listener(5001)])),
        Row(
            reason: "limited",
            sentence:
                "the guest listens on more ports than the 1024 that are forwarded at most, and 5001 is left out",
            hint: "narrow auto_ports.range",
            facts: facts(5001, holdBack: .surplus(limit: 1024), listeners: [listener(5001)])),
        Row(
            reason: "unreachable",
            sentence:
                "node (pid 812) listens on 0.0.0.0 of one network interface of the guest only, where the agent cannot dial it",
            hint: "127.0.0.1", facts: facts(5001, listeners: [listener(5001, interface: 3)])),
        Row(
            reason: "not_accepting",
            sentence: "node (pid 812) listens on 0.0.0.0:5001 but does not accept: 2 connections wait",
            facts: facts(5001, listeners: [listener(5001, waiting: 2, isFull: true)])),
        Row(
            reason: "opening",
            sentence: "node (pid 812) has just begun to listen on 0.0.0.0:5001, and the forward opens now",
            hint: "rum ports wait 5001", facts: facts(5001, listeners: [listener(5001)])),
        Row(
            reason: "nothing_listens", sentence: "nothing in the guest listens on 5001",
            hint: "start the program", facts: facts(5001)),
        Row(
            reason: "unknown", sentence: "the guest's agent did not tell in time what listens on 5001",
            hint: "ask again", facts: facts(5001, listeners: nil)),
    ]

    @Test("One true sentence for each reason", arguments: rows)
    func sentence(row: Row) {
        let answer = PortAnswer(row.facts).answer
        #expect(answer.sentence == row.sentence)
        #expect(answer.reason == row.reason)
        #expect(answer.isDone == row.isDone)
        #expect(
            row.hint.map { answer.hint?.contains($0) == true } ?? true, "the hint is \(answer.hint ?? "-")")
        #expect(!answer.sentence.hasSuffix(".") && !answer.sentence.contains("\n"))
    }

    @Test("What an agent cannot see is not said to be nothing")
    func olderAgent() {
        var facts = Self.facts(5001)
        facts.sawOtherNamespaces = false
        let answer = PortAnswer(facts).answer
        #expect(answer.sentence == "nothing listens on 5001 where the agent looks")
        #expect(answer.hint?.contains("container") == true)
    }
}
