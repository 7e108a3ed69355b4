import CommandMain
import Control
import Foundation
import Glibc
import Linux
import PortForward
import Ports
import TestSupport
import Testing

@testable import rum

@Suite("Forward events")
struct ForwardEventTests {
    static let auto = WantedForward.Key(
        kind: .auto, bind: .loopback, hostPort: port(5001), guestPort: port(5001))
    static let fixed = WantedForward.Key(
        kind: .static, bind: .loopback, hostPort: port(8080), guestPort: port(80))

    @Test("The lines are the documented ones")
    func lines() {
        func line(_ name: ForwardEvent.Name, _ key: WantedForward.Key?, _ reason: String? = nil) -> String {
            ForwardEvent(name: name, forward: key, reason: reason, timeMicroseconds: 0).line
        }
        #expect(line(.opened, Self.fixed) == "Forwarding 127.0.0.1:8080 → guest:80")
        #expect(line(.opened, Self.auto) == "Auto-forwarding 127.0.0.1:5001 → guest:5001")
        #expect(line(.closed, Self.auto) == "Stopped forwarding port 5001")
        #expect(
            line(.blocked, Self.auto, "127.0.0.1:5001 is held by node (pid 4121)")
                == "Blocked: 127.0.0.1:5001 is held by node (pid 4121); will forward when it is free")
        #expect(
            line(.limited, Self.auto, "it changes too often") == "Limited: port 5001: it changes too often")
        #expect(line(.limited, nil, "too many") == "Limited: too many")
        #expect(
            line(.refused, Self.auto, "it is user 7's")
                == "Refused a client of 127.0.0.1:5001: it is user 7's")
        #expect(
            line(.asked, Self.auto, "waits for your answer")
                == "Asked: 127.0.0.1:5001 → guest:5001 waits for your answer: rum ports allow 5001, or rum ports deny 5001"
        )
        var withdrawn = ForwardEvent(
            name: .closed, forward: Self.auto, reason: "it is denied", timeMicroseconds: 0)
        withdrawn.wasAsked = true
        #expect(withdrawn.line == "Gave up on 127.0.0.1:5001: it is denied")
        #expect(line(.agentLost, nil, "no answer") == "Lost the guest's agent: no answer")
        #expect(line(.agentBack, nil) == "The guest's agent is back")
    }

    @Test("An IPv6 bind address is written in brackets")
    func bracketed() {
        var key = Self.auto
        key.bind = BindAddress(.loopbackV6)
        let event = ForwardEvent(name: .opened, forward: key, timeMicroseconds: 0)
        #expect(event.line == "Auto-forwarding [::1]:5001 → guest:5001")
    }

    @Test("The JSON has every key of the contract")
    func json() {
        let listener = ListeningSocket(
            address: .anyV4, port: port(5001), process: ListeningProcess(pid: 812, name: "python3"))
        let event = ForwardEvent(
            name: .opened, forward: Self.auto, listener: listener, latencyMicroseconds: 640,
            timeMicroseconds: 17)
        #expect(
            event.json == """
                {"bind":"127.0.0.1","event":"opened","guest_address":"0.0.0.0","guest_port":5001,"host_port":5001,\
                "kind":"auto","label":null,"latency_us":640,"pid":812,"process":"python3","reason":null,\
                "rule_line":null,"time_us":17}
                """)
    }

    @Test("The rule that decided is told, and that a conflict is final where it says so")
    func rules() throws {
        var rule = PortRule()
        (rule.label, rule.line) = ("web", 14)
        var key = Self.auto
        key.onConflict = .fail
        let event = ForwardEvent(
            name: .blocked, forward: key, rule: rule, reason: "127.0.0.1:5001 is held by node",
            timeMicroseconds: 0)
        #expect(
            event.line
                == "Blocked: 127.0.0.1:5001 is held by node; its rule lets it fail, so it is not tried again")
        #expect(event.json.contains(#""label":"web""#) && event.json.contains(#""rule_line":14"#))
    }

    @Test("What a guest says cannot reach a terminal raw through JSON either, and is the same JSON")
    func rawInJSON() throws {
        let name = "\u{1b}[2J\u{9b}\u{202e}\u{7f}\u{e0041}é\\"
        let listener = ListeningSocket(
            address: .anyV4, port: port(5001), process: ListeningProcess(pid: 1, name: name))
        let event = ForwardEvent(
            name: .opened, forward: Self.auto, listener: listener, timeMicroseconds: 1)
        let isShown = event.json.unicodeScalars.allSatisfy(\.isPrintable)
        #expect(isShown)
        #expect(try JSONDecoder().decode(EventDocument.self, from: Data(event.json.utf8)).process == name)
    }

    @Test("A port that was never open has no end to tell, but is not waited for any more")
    func withdrawn() {
        let failure = BindFailure(
            address: HostAddress(address: .loopbackV4, port: port(5001)),
            error: SystemError(code: EADDRINUSE, operation: "bind"))
        let event = ForwardEvent(
            name: .closed, forward: Self.auto, reason: "the agent is lost", failure: failure,
            timeMicroseconds: 0)
        #expect(event.line == "Gave up on 127.0.0.1:5001: the agent is lost")
    }

    @Test("What the guest says reaches no terminal raw, and has an end")
    func hostileText() {
        let name = "\u{1B}[2Jnode\u{202E}\u{200B}\n" + String(repeating: "a", count: 5000)
        let lost = ForwardEvent(name: .agentLost, reason: name, timeMicroseconds: 1)
        #expect(lost.line.hasPrefix(#"Lost the guest's agent: \u{1b}[2Jnode\u{202e}\u{200b}\u{a}aaa"#))
        #expect(lost.line.count < 1100)
        let listener = ListeningSocket(
            address: .anyV4, port: port(5001), process: ListeningProcess(pid: 812, name: name))
        let opened = ForwardEvent(
            name: .opened, forward: Self.auto, listener: listener, reason: name, timeMicroseconds: 1)
        #expect(opened.json.utf8.count < 2500)
    }

    @Test("Where lines are missing stands how many")
    func dropped() {
        #expect(DroppedDocument(count: 321).jsonLine == #"{"count":321,"event":"dropped"}"#)
    }

    @Test("Names and reasons with quotes, backslashes and control characters stay JSON")
    func escaped() {
        let event = ForwardEvent(name: .agentLost, reason: "a\"b\\c\n\u{1}é", timeMicroseconds: 1)
        #expect(
            event.json == """
                {"bind":null,"event":"agent_lost","guest_address":null,"guest_port":null,"host_port":null,\
                "kind":null,"label":null,"latency_us":null,"pid":null,"process":null,\
                "reason":"a\\"b\\\\c\\n\\u0001é","rule_line":null,"time_us":1}
                """)
    }
}

extension ForwardEvent {
    /// The line of `--json`; every key is always there.
    fileprivate var json: String { EventDocument(self).jsonLine }
}
