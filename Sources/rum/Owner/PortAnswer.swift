import Control
import Linux
import PortForward
import Ports

/// Says in one sentence why a port is or is not forwarded: a pure function of the facts.
struct PortAnswer {
    private let facts: PortFacts
    private var port: PortNumber { facts.port }
    private var kind: ForwardsKind { facts.forwardName == nil ? .machine : .command }

    init(_ facts: PortFacts) { self.facts = facts }

    var answer: ControlAnswer {
        // The host's side first: what is open, or would be if the host had room.
        if let blocked = facts.forwards.first(where: { $0.state == "blocked" && $0.hostPort == port.rawValue }
        ) {
            return blockedAnswer(blocked)
        }
        if let open = facts.forwards.first {
            switch open.state {
            case "blocked": return blockedAnswer(open)
            case "asking": return askingAnswer(open)
            default: return openAnswer(open)
            }
        }
        if let rival = facts.policy.staticPorts.first(where: { $0.host == port }) {
            return no(
                "taken_by_static",
                "host port \(port) is taken by the static forward to guest port \(rival.guest)")
        }
        if let problem = rules { return problem }
        switch facts.agent {
        case .missing(let problem):
            return no(
                "agent_missing",
                "the guest's agent has not answered yet, so what listens there is unknown: \(problem)",
                hint: kind == .machine
                    ? "`rum logs` shows how far the guest has booted" : "start rum-agent in the guest")
        case .lost(let problem):
            return no(
                "agent_lost", "the guest's agent is lost, so what listens there is unknown: \(problem)",
                hint: "it is tried again all the time"
                    + (kind == .machine ? "; `rum logs --agent` shows its last words" : ""))
        case .answers: return listening
        }
    }

    // MARK: Open and blocked

    private func openAnswer(_ forward: OwnerReport.Forward) -> ControlAnswer {
        let way = "\(forward.hostText) → guest:\(forward.guestPort)"
        guard case .answers = facts.agent else {
            return yes(
                "forwarded",
                "\(way) is open, but the guest's agent does not answer, so what listens there is unknown")
        }
        if forward.state == "held" {
            return no(
                "held",
                "\(way) is open, and its clients wait: nothing listens on guest port \(forward.guestPort) at the moment",
                hint: "start the program in the guest; after the rule's `hold` the port closes")
        }
        let own = ownListeners.filter { $0.socket.port.rawValue == forward.guestPort }
        if let full = own.first(where: \.isQueueFull) {
            return no(
                "not_accepting",
                "\(way) is open, but \(full.socket.program) does not accept: \(full.waiting ?? 0) connections wait, which fills its queue",
                hint: "the program hangs or is busy; look at it in the guest")
        }
        let rule = rule(of: forward)
        if let listener = own.first {
            return yes(
                "forwarded",
                "\(way), where \(listener.socket.program) listens on \(listener.socket.address)\(rule)")
        }
        if let process = forward.process {
            return yes("forwarded", "\(way), where \(process) (pid \(forward.pid ?? 0)) listens\(rule)")
        }
        if facts.listeners == nil, forward.kind == "auto" { return yes("forwarded", way + rule) }
        if let elsewhere = otherNamespace { return elsewhere.with(prefix: "\(way) is open, but ") }
        guard facts.listeners != nil else { return yes("forwarded", way) }
        return no(
            "nothing_listens",
            "\(way) is open, but nothing listens on guest port \(forward.guestPort), so connections are reset",
            hint: "start the program in the guest")
    }

    private func blockedAnswer(_ forward: OwnerReport.Forward) -> ControlAnswer {
        let failure = facts.failures.first { $0.address.port.rawValue == forward.hostPort }
        if let failure, failure.lacksPrivilege {
            return no(
                "not_permitted", "\(forward.hostText) cannot be bound: \(failure.error.reason)",
                hint: failure.address.port.cureForPrivilege)
        }
        let reason = forward.reason ?? "\(forward.hostText) cannot be opened"
        let outcome =
            forward.onConflict == PortRule.ConflictChoice.fail.rawValue
            ? "is not forwarded until its listener goes and comes again" : "waits for it"
        return no(
            "busy_on_host", "\(reason), so guest port \(forward.guestPort) \(outcome)\(rule(of: forward))",
            hint:
                "end that program, or forward to another port: \(add(freePort(forward), forward.guestPort))"
        )
    }

    private func askingAnswer(_ forward: OwnerReport.Forward) -> ControlAnswer {
        let program = forward.process.map { ", where \($0) (pid \(forward.pid ?? 0)) listens," } ?? ""
        return no(
            "asking", "guest port \(forward.guestPort)\(program) waits for your answer\(rule(of: forward))",
            hint: "rum ports allow \(forward.guestPort), or rum ports deny \(forward.guestPort)")
    }

    /// Names the rule that decided, and why another host port was taken.
    private func rule(of forward: OwnerReport.Forward) -> String {
        let detour = forward.state == "open" ? forward.reason.map { ", since \($0)" } ?? "" : ""
        guard forward.onConflict != nil else { return detour }
        return detour + ", by " + PortRule.title(label: forward.label, line: forward.ruleLine)
    }

    private func add(_ host: UInt16, _ guest: UInt16) -> String {
        "rum ports add \(host):\(guest)" + (facts.forwardName.map { " \($0)" } ?? "")
    }

    private func freePort(_ forward: OwnerReport.Forward) -> UInt16 {
        forward.hostPort < 55_000 ? forward.hostPort + 10_000 : forward.hostPort - 10_000
    }

    // MARK: The rules

    private var rules: ControlAnswer? {
        let add = add(port.rawValue, port.rawValue)
        guard let auto = facts.policy.autoPorts else {
            return no(
                "out_of_range",
                "\(kind.source) has no \(kind.automatic), and no \(kind.fixed) for guest port \(port)",
                hint: "set \(kind.range), or forward it for now: \(add)")
        }
        guard auto.range.contains(port) else {
            return no(
                "out_of_range",
                "\(port) is out of the range \(auto.range) of \(kind.automatic), and no \(kind.fixed) names it",
                hint: "widen \(kind.range), or forward it for now: \(add)")
        }
        if auto.ignore.contains(port) {
            return no(
                "ignored", "\(port) is in \(kind.ignored)",
                hint: "take it out, or forward it for now: \(add)")
        }
        guard let rule = facts.rule else { return nil }
        if rule.action == .ignore {
            return no(
                "ignored", "\(port) is ignored by \(PortRule.title(label: rule.label, line: rule.line))",
                hint: "change that rule, or forward it for now: \(add)")
        }
        if rule.action == .ask, facts.policy.answers[port] == .deny {
            return no(
                "denied",
                "\(port) is denied by your answer, for which \(PortRule.title(label: rule.label, line: rule.line)) asks",
                hint: "rum ports allow \(port), or rum ports forget \(port)")
        }
        let rival = facts.policy.staticPorts.first { $0.host == rule.hostPort(for: port) }
        guard let rival, rule.onConflict != .next else { return nil }
        return no(
            "taken_by_static",
            "host port \(rival.host) is taken by the static forward to guest port \(rival.guest)")
    }

    // MARK: The guest

    private var ownListeners: [PortFacts.Listener] {
        (facts.listeners ?? []).filter { $0.namespace == nil }
    }

    private var listening: ControlAnswer {
        if let holdBack = facts.holdBack {
            switch holdBack {
            case .changesTooOften:
                return no(
                    "held_back",
                    "\(port) opens and closes too often, so it is forwarded a little later than it listens",
                    hint: "`rum ports wait \(port)` returns when it is open")
            case .surplus(let limit):
                return no(
                    "limited",
                    "the guest listens on more ports than the \(limit) that are forwarded at most, and \(port) is left out",
                    hint:
                        "narrow \(kind.range), or forward it by itself: \(add(port.rawValue, port.rawValue))")
            }
        }
        guard facts.listeners != nil else {
            return no(
                "unknown", "the guest's agent did not tell in time what listens on \(port)", hint: "ask again"
            )
        }
        if let own = ownListeners.first {
            if own.isQueueFull {
                return no(
                    "not_accepting",
                    "\(own.socket.program) listens on \(own.socket.address):\(port) but does not accept: \(own.waiting ?? 0) connections wait"
                )
            }
            if own.socket.interfaceIndex != 0 {
                return no(
                    "unreachable",
                    "\(own.socket.program) listens on \(own.socket.address) of one network interface of the guest only, where the agent cannot dial it",
                    hint: "have it listen on 127.0.0.1 or 0.0.0.0")
            }
            return no(
                "opening",
                "\(own.socket.program) has just begun to listen on \(own.socket.address):\(port), and the forward opens now",
                hint: "`rum ports wait \(port)` returns when it is open")
        }
        if let elsewhere = otherNamespace { return elsewhere }
        let whole =
            facts.sawOtherNamespaces
            ? "nothing in the guest listens on \(port)" : "nothing listens on \(port) where the agent looks"
        return no(
            "nothing_listens", whole,
            hint: facts.sawOtherNamespaces
                ? "start the program in the guest"
                : "start the program in the guest; a container must publish its port")
    }

    private var otherNamespace: ControlAnswer? {
        guard let other = facts.listeners?.first(where: { $0.namespace != nil }) else { return nil }
        let place = other.container ?? "another network namespace of the guest"
        return no(
            "other_namespace",
            "\(other.socket.program) listens on \(other.socket.address):\(other.socket.port) inside \(place), which the agent cannot dial",
            hint: other.container == nil
                ? "have it listen outside of that namespace"
                : "publish the port of the container, as with `docker run -p \(port):\(port)`")
    }

    private func yes(_ reason: String, _ sentence: String) -> ControlAnswer {
        ControlAnswer(isDone: true, reason: reason, sentence: sentence)
    }

    private func no(_ reason: String, _ sentence: String, hint: String? = nil) -> ControlAnswer {
        ControlAnswer(isDone: false, reason: reason, sentence: sentence, hint: hint)
    }
}

extension PortRule {
    /// How sentences name a rule.
    static func title(label: String?, line: Int?) -> String {
        "the rule" + (label.map { " \"\($0)\"" } ?? "") + (line.map { " on line \($0) of rum.toml" } ?? "")
    }
}

extension ControlAnswer {
    fileprivate func with(prefix: String) -> ControlAnswer {
        var copy = self
        copy.sentence = prefix + sentence
        return copy
    }
}
