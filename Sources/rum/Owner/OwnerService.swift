import AgentAPI
import AgentSession
import Control
import HostForward
import Linux
import PortForward
import Ports
import Router

/// Answers what is asked on the control socket.
final class OwnerService: Sendable {
    private let hello: ControlHello
    let session: ForwardSession
    private let guest: GuestQuestions
    private let subscribers: Subscribers
    /// Between two looks at a program that is not ready. A look reads much of the guest's /proc.
    private static let longestPause = Duration.milliseconds(500)
    private let names: NameRouter?
    private let kind: ForwardsKind
    let remember: Memory
    /// Forwards what a rum.toml says; nil where none is gone by.
    private let reload: (@Sendable (_ file: String) async -> ControlAnswer)?
    private let stops = AsyncStream<Void>.makeStream(bufferingPolicy: .bufferingOldest(1))

    init(
        hello: ControlHello, session: ForwardSession, guest: GuestQuestions, subscribers: Subscribers,
        names: NameRouter? = nil, kind: ForwardsKind = .machine, remember: @escaping Memory = { _, _ in },
        reload: (@Sendable (_ file: String) async -> ControlAnswer)? = nil
    ) {
        self.hello = hello
        self.session = session
        self.guest = guest
        self.subscribers = subscribers
        self.names = names
        self.kind = kind
        self.remember = remember
        self.reload = reload
    }

    /// Returns when a client asks the owner to end.
    func untilStopped() async { for await _ in stops.stream { return } }

    func handle(_ request: ControlRequest, _ peer: ControlPeer) async {
        switch request {
        case .status: peer.send(.report(await report()))
        case .events: await follow(peer)
        case .wait(let port, let seconds): peer.send(.answer(await wait(for: port, .after(seconds))))
        case .ready(let port, let seconds, let http):
            peer.send(.answer(await ready(port, .after(seconds), http)))
        case .why(let port): peer.send(.answer(await why(port)))
        case .add(let forward): peer.send(.answer(await add(forward)))
        case .remove(let forward): peer.send(.answer(await remove(forward)))
        case .allow(let port): peer.send(.answer(await take(.allow, about: port)))
        case .deny(let port): peer.send(.answer(await take(.deny, about: port)))
        case .forget(let port?): peer.send(.answer(await take(nil, about: port)))
        case .forget(nil): peer.send(.answer(await forgetAll()))
        case .reload(let file): peer.send(.answer(await reload?(file) ?? .noConfiguration))
        case .stop:
            peer.send(.answer(ControlAnswer(isDone: true, reason: "ends", sentence: "the forwards end")))
            stops.continuation.yield()
            await peer.untilGone()
        }
    }

    /// Tells all followers who the agent is and what is open, such as once it is ready.
    func tellReport() async {
        await session.settle()
        let report = await self.report()
        subscribers.tell(.report(report))
    }

    // MARK: What there is

    /// Of static forwards, the guest is asked who listens: only the automatic range is followed.
    private func report() async -> OwnerReport {
        var report = await OwnerReport(session, hello: hello)
        report.url = names?.url
        let urls = names?.urls ?? [:]
        for index in report.forwards.indices {
            report.forwards[index].url = urls[report.forwards[index].guestPort]
        }
        guard report.agentProblem == nil else { return report }
        let unknown = report.forwards.filter { $0.kind == "static" && $0.guestAddress == nil }
        guard let found = await guest.listeners(on: Set(unknown.compactMap { PortNumber($0.guestPort) }))
        else { return report }
        for index in report.forwards.indices where report.forwards[index].guestAddress == nil {
            guard report.forwards[index].kind == "static",
                let port = PortNumber(report.forwards[index].guestPort)
            else { continue }
            report.forwards[index].fill(with: found[port])
        }
        return report
    }

    private func follow(_ peer: ControlPeer) async {
        let subscribers = subscribers
        await session.retell(
            after: { subscribers.add(peer) },
            to: { peer.send(.event(ControlEvent(line: $0.line, object: EventDocument($0)))) })
        peer.send(.report(await report()))
        await peer.untilGone()
        subscribers.remove(peer)
    }

    // MARK: One port

    private func wait(
        for number: UInt16, _ deadline: ContinuousClock.Instant
    ) async -> ControlAnswer {
        guard let port = PortNumber(number) else { return .noPort }
        let changes = subscribers.changes()
        // Without a change too: the answer of a port that can never open comes at once.
        let waited = await withTaskGroup(of: ControlAnswer?.self) { group in
            group.addTask {
                for await _ in changes {
                    if let open = await self.session.forwards.first(where: { $0.isOpen(port) }) {
                        return ControlAnswer(
                            isDone: true, reason: "forwarded",
                            sentence: "\(open.forward.hostText) → guest:\(open.forward.guestPort)")
                    }
                    if await self.canNeverOpen(port) { return nil }
                }
                return nil
            }
            group.addTask {
                try? await Task.sleep(until: deadline)
                return nil
            }
            let first = await group.next() ?? nil
            group.cancelAll()
            return first
        }
        if let waited { return waited }
        return await why(number)
    }

    private func canNeverOpen(_ port: PortNumber) async -> Bool {
        let hasFailed = await session.forwards.contains {
            $0.state == .blocked && $0.forward.hostPort == port && $0.forward.onConflict == .fail
        }
        let policy = await session.policy
        return hasFailed || !policy.mayOpen(port)
    }

    /// Waits until the port is open, and the program behind it accepts and answers.
    private func ready(
        _ number: UInt16, _ deadline: ContinuousClock.Instant, _ http: ControlHTTPCheck?
    ) async -> ControlAnswer {
        guard let port = PortNumber(number) else { return .noPort }
        guard http?.isValid ?? true else { return .noPath }
        var check = ReadyCheck(guest: guest, http: http)
        var pause = Duration.milliseconds(50)
        while true {
            var answer = await wait(for: number, deadline)
            guard answer.isDone else { return answer }
            if let forward = await session.forwards.first(where: { $0.isOpen(port) })?.forward {
                answer = await check.answer(forward, until: deadline)
            } else {
                // It has been closed since.
                answer.isDone = false
            }
            guard !answer.isDone, .now + pause < deadline, !Task.isCancelled else { return answer }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, Self.longestPause)
        }
    }

    private func why(_ number: UInt16) async -> ControlAnswer {
        guard let port = PortNumber(number) else { return .noPort }
        let snapshots = await session.forwards.filter {
            $0.forward.hostPort == port || $0.forward.guestPort == port
        }
        var facts = PortFacts(
            port: port, forwardName: kind == .command ? hello.machine : nil, policy: await session.policy,
            forwards: snapshots.map(OwnerReport.Forward.init), agent: .answers,
            failures: snapshots.compactMap(\.failure), holdBack: await session.holdBack(of: port),
            rule: await session.rule(for: port))
        switch session.agent {
        case .notYetReached: facts.agent = .missing("it may still boot")
        case .lost(let reason): facts.agent = .lost(reason)
        case .connected: await ask(port: snapshots.first?.forward.guestPort ?? port, &facts)
        }
        return PortAnswer(facts).answer
    }

    private func ask(port: PortNumber, _ facts: inout PortFacts) async {
        guard let range = PortRange(port, port) else { return }
        let answer = await guest.ask { agent in
            if let all = try await agent.explainPort(port, timeout: GuestQuestions.explanation) {
                return (all.listeners.map { PortFacts.Listener($0) }, all.incomplete == nil)
            }
            // An older agent knows its own network namespace alone.
            let table = try await agent.listeningPorts(range, timeout: GuestQuestions.timeout)
            return (
                table.cuttingNames(to: AgentLimits.longestName).listeners.map {
                    PortFacts.Listener(socket: $0)
                },
                false
            )
        }
        facts.listeners = answer?.0
        facts.sawOtherNamespaces = answer?.1 ?? false
    }

    // MARK: Changes

    private func add(_ forward: ControlForward) async -> ControlAnswer {
        guard let port = StaticPort(forward) else { return .noPort }
        switch await session.add(port) {
        case .opened:
            return ControlAnswer(
                isDone: true, reason: "added",
                sentence:
                    "\(port.text), until \(hello.isBackground ? "the machine stops" : "its \(kind.command) ends")"
            )
        case .wasThere:
            return ControlAnswer(isDone: true, reason: "was_there", sentence: "\(port.text) is there already")
        case .taken(let other):
            return ControlAnswer(
                isDone: false, reason: "taken_by_static", sentence: "\(other.text) has that host port",
                hint: "remove it first: rum ports rm \(other.argument)"
                    + (kind == .machine ? "" : " \(hello.machine)"))
        case .failed(let failure, let holder):
            let place = port.bind.with(port.host)
            if failure.isBusy {
                return ControlAnswer(
                    isDone: false, reason: "busy_on_host",
                    sentence: "\(place) is held by \(holder?.description ?? "another process")",
                    hint: "end that program, or choose another host port")
            }
            return ControlAnswer(
                isDone: false, reason: failure.lacksPrivilege ? "not_permitted" : "not_bound",
                sentence: "\(place) cannot be bound: \(failure.error.reason)",
                hint: failure.lacksPrivilege ? port.host.cureForPrivilege : "choose an address of this host")
        }
    }

    private func remove(_ forward: ControlForward) async -> ControlAnswer {
        guard let port = StaticPort(forward) else { return .noPort }
        guard await session.remove(port) else {
            return ControlAnswer(
                isDone: false, reason: "not_there", sentence: "there is no static forward \(port.text)",
                hint: kind == .machine
                    ? "`rum ports` shows them; automatic ones are ruled by [auto_ports] of rum.toml"
                    : "`rum ports \(hello.machine)` shows them; automatic ones are ruled by --auto")
        }
        return ControlAnswer(
            isDone: true, reason: "removed",
            sentence: "\(port.text) is removed"
                + (kind == .machine ? "; one of rum.toml comes back with the next `rum up`" : ""))
    }
}

extension ForwardSnapshot {
    fileprivate func isOpen(_ port: PortNumber) -> Bool {
        state.isOpen && forward.hostPort == port
    }
}

extension StaticPort {
    fileprivate init?(_ forward: ControlForward) {
        guard let bind = BindAddress(text: forward.bind), let host = PortNumber(forward.host),
            let guest = PortNumber(forward.guest)
        else { return nil }
        self.init(bind: bind, host: host, guest: guest)
    }

    /// The forward as events have it.
    fileprivate var text: String { "\(bind.with(host)) → guest:\(guest)" }
    /// The forward as commands take it.
    fileprivate var argument: String { "\(bind.with(host)):\(guest)" }
}

extension ControlAnswer {
    static var noPort: ControlAnswer {
        ControlAnswer(
            isDone: false, reason: "no_port", sentence: "that is no port or no address",
            hint: "ports are 1 to 65535; addresses are IP addresses or localhost")
    }

    fileprivate static var noConfiguration: ControlAnswer {
        ControlAnswer(
            isDone: false, reason: "no_configuration", sentence: "these forwards go by no rum.toml",
            hint: "end that `rum forward`, and start it anew with other options")
    }

    fileprivate static var noPath: ControlAnswer {
        ControlAnswer(
            isDone: false, reason: "no_path", sentence: "that is no path of HTTP",
            hint: "it begins with / and has no spaces")
    }
}

extension ContinuousClock.Instant {
    fileprivate static func after(_ seconds: Double) -> Self { .now + .seconds(min(max(seconds, 0), 86_400)) }
}

extension PortFacts.Listener {
    fileprivate init(_ listener: PortExplanation.Listener) {
        socket = listener.socket
        waiting = listener.queue?.waiting
        isQueueFull = listener.queue?.isFull ?? false
        namespace = listener.networkNamespace
        // Ids of containers are long; twelve digits are what their own tools show.
        container = listener.container.map { "\($0.runtime) container \($0.name.prefix(12))" }
    }
}
