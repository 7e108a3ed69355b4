package import Ports

/// Says which forwards there should be: a pure function of the configuration and the guest's table.
package struct ForwardPolicy: Hashable, Sendable {
    package var staticPorts: [StaticPort]
    package var autoPorts: AutoPorts?
    /// What the user has answered about guest ports whose rule asks.
    package var answers: [PortNumber: PortConsent] = [:]
    /// How many automatic forwards there may be at once; further ports of the guest are left out, and an event says so.
    package var maxAutoPorts: Int {
        get { autoPorts?.max ?? 0 }
        set { autoPorts?.max = newValue }
    }

    package init(staticPorts: [StaticPort] = [], autoPorts: AutoPorts? = nil) {
        self.staticPorts = staticPorts
        self.autoPorts = autoPorts
    }

    /// The forwards that `table` calls for, static ones first, then by port. Without a table, only the static ones.
    ///
    /// A guest port has one forward, however many addresses listen on it; one with a static forward gets no automatic
    /// one, nor does one whose host port is a static forward's, unless its rule takes the next port then.
    package func wanted(in table: ListenTable?) -> [WantedForward] {
        let fixed = staticPorts.map { port in
            WantedForward(
                key: .init(port), listener: Self.named(table?.listeners(on: port.guest) ?? []))
        }
        guard let autoPorts else { return fixed }
        let hosts = Set(staticPorts.map(\.host))
        let taken = Set(staticPorts.map(\.guest)).union(autoPorts.ignore)
        var forwards = fixed
        // Sorted by port.
        var rest = (table?.listeners ?? [])[...]
        while let port = rest.first?.port {
            let listeners = rest.prefix { $0.port == port }
            rest = rest.dropFirst(listeners.count)
            guard autoPorts.range.contains(port), !taken.contains(port),
                let forward = autoPorts.forward(listeners, from: port, answers[port])
            else { continue }
            if forward.key.onConflict == .next || !hosts.contains(forward.key.hostPort) {
                forwards.append(forward)
            }
        }
        return forwards
    }

    /// The rule that decides about a port of the guest; nil when none does, or when that depends on who listens and
    /// nobody does.
    package func rule(for port: PortNumber, in table: ListenTable?) -> PortRule? {
        guard let autoPorts, autoPorts.range.contains(port) else { return nil }
        let listeners = table?.listeners(on: port) ?? []
        return listeners.isEmpty ? autoPorts.rule(for: port) : autoPorts.decision(on: listeners).rule
    }

    /// Whether the rules may decide otherwise about this port of the guest once the guest has told more of who listens there.
    func isUndecided(_ port: PortNumber, in table: ListenTable?) -> Bool {
        guard let autoPorts, let listeners = table?.listeners(on: port), !listeners.isEmpty,
            autoPorts.range.contains(port), !autoPorts.ignore.contains(port),
            !staticPorts.contains(where: { $0.guest == port })
        else { return false }
        return autoPorts.decision(on: listeners).isUndecided
    }

    /// Whether some rule asks about this port of the guest.
    package func mayAsk(about port: PortNumber) -> Bool {
        guard let autoPorts, autoPorts.range.contains(port) else { return false }
        return autoPorts.rules.contains { $0.action == .ask && $0.match.contains(port) }
    }

    /// Whether some guest could ever have this host port opened.
    package func mayOpen(_ port: PortNumber) -> Bool {
        if staticPorts.contains(where: { $0.host == port }) { return true }
        guard let autoPorts else { return false }
        let forwards = autoPorts.rules.filter { $0.action != .ignore }
        if forwards.contains(where: { $0.onConflict == .next || $0.mapsOnto(port) }) { return true }
        guard autoPorts.range.contains(port), !autoPorts.ignore.contains(port) else { return false }
        guard let rule = autoPorts.rule(for: port) else { return true }
        if rule.action == .ask, answers[port] == .deny { return false }
        return rule.action != .ignore && rule.hostPort(for: port) == port
    }

    /// The first that knows its process, else the first.
    fileprivate static func named(_ listeners: ArraySlice<ListeningSocket>) -> ListeningSocket? {
        listeners.first { $0.process != nil } ?? listeners.first
    }
}

extension AutoPorts {
    fileprivate struct Decision {
        /// The first that matches one of the listeners; nil when none does.
        var rule: PortRule?
        /// One that it matches.
        var listener: ListeningSocket?
        /// Whether an earlier rule may match once the guest has told more.
        var isUndecided = false
        /// Whether the user is to be asked: by its rule, or by one that may match. A guest that tells nothing of its
        /// processes must not get around the question.
        var asks = false
    }

    /// What becomes of one guest port, on which all of `listeners` listen; nil when it is not forwarded.
    ///
    /// - Parameter answer: the user's, where a rule asks.
    fileprivate func forward(
        _ listeners: ArraySlice<ListeningSocket>, from guest: PortNumber, _ answer: PortConsent?
    ) -> WantedForward? {
        let decision = decision(on: listeners)
        let rule = decision.rule ?? PortRule()
        guard rule.action != .ignore, let host = rule.hostPort(for: guest) else { return nil }
        if decision.asks, answer == .deny { return nil }
        return WantedForward(
            key: .init(
                kind: .auto, bind: bind, hostPort: host, guestPort: guest, allow: allow,
                onConflict: rule.onConflict, settings: rule.settings),
            listener: decision.listener, rule: decision.rule, isUndecided: decision.isUndecided,
            isAskedAbout: decision.asks, needsAnswer: decision.asks && answer == nil)
    }

    fileprivate func decision(on listeners: ArraySlice<ListeningSocket>) -> Decision {
        var decision = Decision()
        for rule in rules {
            var matching: [ListeningSocket] = []
            for listener in listeners {
                switch rule.match.verdict(on: listener) {
                case .matches: matching.append(listener)
                case .undecided:
                    decision.isUndecided = true
                    if rule.action == .ask { decision.asks = true }
                case .differs: break
                }
            }
            guard let listener = ForwardPolicy.named(matching[...]) else { continue }
            decision.rule = rule
            if rule.action == .ask { decision.asks = true }
            decision.listener = listener
            return decision
        }
        decision.listener = ForwardPolicy.named(listeners)
        return decision
    }

    /// The rule that decides whoever listens.
    fileprivate func rule(for port: PortNumber) -> PortRule? {
        let first = rules.first { $0.match.contains(port) }
        return first?.match.isAboutPortsOnly == true ? first : nil
    }
}

extension PortRule {
    /// Whether it forwards some other guest port to this host port.
    fileprivate func mapsOnto(_ host: PortNumber) -> Bool {
        guard firstHostPort != nil else { return false }
        return match.ports.contains { range in
            guard let first = hostPort(for: range.lower), let last = hostPort(for: range.upper) else {
                return false
            }
            return first <= host && host <= last
        }
    }
}
