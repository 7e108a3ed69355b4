import AgentChannel
import Control
import Foundation
import Glibc
import HostForward
import Linux
import LiveKernel
import Machine
import PortForward
import Ports
import Relay
import Synchronization
import TestSupport
import Testing

@testable import rum

/// The owner's answers on its control socket, with an agent in a namespace that plays the guest.
@Suite("The owner of forwards, asked by its socket", .serialized, .timeLimit(.minutes(2)))
struct OwnerServiceTests {
    static let hello = ControlHello(rum: "0.1.0", machine: "dev", pid: 7, isBackground: true)

    private struct Place {
        let guest: Guest
        let client: ControlClient
        let session: ForwardSession
    }

    /// Serves while `body` runs; the agent is not started yet.
    private func serving(
        rules: [PortRule] = [], remember: @escaping OwnerService.Memory = { _, _ in },
        _ body: (Place) async throws -> Void
    ) async throws {
        let guest = try await Guest()
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        let address = AgentAddress.unix(directory: guest.directory)
        let subscribers = Subscribers()
        let policy = ForwardPolicy(
            staticPorts: [StaticPort(host: port(5680), guest: port(15680))],
            autoPorts: PortRange(port(5700), port(5799)).map {
                .init(range: $0, ignore: [port(5799)], rules: rules)
            })
        let session = ForwardSession(
            agent: address, token: nil, policy: policy, engine: try RelayEngine()
        ) { event in
            subscribers.tell(.event(ControlEvent(line: event.line, object: EventDocument(event))))
        }
        let service = OwnerService(
            hello: Self.hello, session: session, guest: GuestQuestions(address: address, token: nil),
            subscribers: subscribers, remember: remember)
        let server = try ControlServer(path: path, hello: Self.hello)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve { await service.handle($0, $1) } }
            group.addTask { try await session.run() }
            group.addTask { await service.untilStopped() }
            try await body(Place(guest: guest, client: ControlClient(path: path), session: session))
            group.cancelAll()
        }
    }

    /// Answers the first connection that the listener has got.
    private static func answerFirst(_ listener: TestListener) throws {
        let number = accept(listener.descriptor.rawValue, nil, nil)
        let peer = OwnedDescriptor(owning: try SystemError.check("accept", number))
        let words = Array("you are served".utf8)
        _ = try SystemError.check(
            "send", send(peer.rawValue, words, words.count, Int32(MSG_NOSIGNAL)))
    }

    private func answer(_ place: Place, _ request: ControlRequest) async throws -> ControlAnswer {
        guard case .answer(let answer) = try await place.client.answer(request, within: .seconds(40)) else {
            throw NeverHappened(what: "an answer")
        }
        return answer
    }

    private func report(_ place: Place) async throws -> OwnerReport {
        guard case .report(let report) = try await place.client.answer(.status) else {
            throw NeverHappened(what: "a report")
        }
        return report
    }

    @Test("Why, wait, report and events tell what is so, from before the agent until after it")
    func life() async throws {
        try await serving { place in
            #expect(try await answer(place, .why(port: 5701)).reason == "agent_missing")
            #expect(try await answer(place, .why(port: 4000)).reason == "out_of_range")
            #expect(try await answer(place, .wait(port: 5799, seconds: 30)).reason == "ignored")
            #expect(try await answer(place, .wait(port: 5701, seconds: 0.1)).reason == "agent_missing")
            try await eventually("the static forward is open, and the agent was tried") {
                let isOpen = try await answer(place, .wait(port: 5680, seconds: 0)).isDone
                let hasProblem = try await report(place).agentProblem != nil
                return isOpen && hasProblem
            }

            let agent = try await place.guest.startAgent()
            try await eventually("the agent is followed") { try await report(place).agent != nil }
            #expect(try await answer(place, .why(port: 5701)).reason == "nothing_listens")
            #expect(try await answer(place, .why(port: 5680)).reason == "nothing_listens")
            let lines = Mutex<[String]>([])
            let following = Task {
                for try await message in place.client.messages(.events) {
                    if case .event(let event) = message { lines.withLock { $0.append(event.line) } }
                    if case .report = message { lines.withLock { $0.append("report") } }
                }
            }
            try await eventually("the state") { lines.withLock { $0.last == "report" } }
            let waited = Task { try await answer(place, .wait(port: 5701, seconds: 30)) }
            let listener = try await place.guest.listen(port: 5701)
            let fixed = try await place.guest.listen(.loopbackV4, port: 15680)
            #expect(try await waited.value.isDone)
            #expect(Client.reaches(5701))
            let why = try await answer(place, .why(port: 5701))
            #expect(why.isDone && why.sentence.hasPrefix("127.0.0.1:5701 → guest:5701, where "), "\(why)")
            try await eventually("the static forward knows its listener") {
                try await report(place).forwards.first?.guestAddress == "127.0.0.1"
            }
            let expected = [
                "Forwarding 127.0.0.1:5680 → guest:15680", "report",
                "Auto-forwarding 127.0.0.1:5701 → guest:5701",
            ]
            try await eventually("they are told, so far: \(lines.withLock { $0 })") {
                lines.withLock { $0 } == expected
            }
            withExtendedLifetime((listener, fixed)) {}

            agent.send(SIGKILL)
            try await eventually("the agent is lost") {
                try await answer(place, .why(port: 5702)).reason == "agent_lost"
            }
            following.cancel()
        }
    }

    @Test("Another policy opens its ports before it is said to be applied, and connections go on")
    func otherPolicy() async throws {
        try await serving { place in
            let agent = try await place.guest.startAgent()
            let inside = try await place.guest.listen(port: 5702)
            let outside = try await place.guest.listen(port: 5802)
            let fixed = try await place.guest.listen(.loopbackV4, port: 15680)
            try await eventually("both are open") {
                let isFixed = try await answer(place, .wait(port: 5680, seconds: 0)).isDone
                let isAutomatic = try await answer(place, .wait(port: 5702, seconds: 0)).isDone
                return isFixed && isAutomatic
            }
            // The first that either listener gets.
            let first = try Client(port: 5680)
            let second = try Client(port: 5702)
            #expect(!Client.reaches(5802))
            var policy = await place.session.policy
            policy.autoPorts?.range = try #require(PortRange(text: "5700-5899"))
            await place.session.apply(policy)
            #expect(Client.reaches(5802))
            #expect(try await report(place).autoRange == "5700-5899")
            try Self.answerFirst(fixed)
            try Self.answerFirst(inside)
            #expect(try first.readToEnd() == "you are served")
            #expect(try second.readToEnd() == "you are served")
            policy.staticPorts = []
            policy.autoPorts = nil
            await place.session.apply(policy)
            #expect(!Client.reaches(5680) && !Client.reaches(5702) && !Client.reaches(5802))
            withExtendedLifetime((agent, outside)) {}
        }
    }

    @Test("Rules decide by what the agent tells of a process, settle a conflict, and are named")
    func rules() async throws {
        var moved = PortRule()
        moved.match.ports = [PortRange(port(5710), port(5710))].compactMap { $0 }
        moved.match.command = try TextPattern(text: "*rum-agent --listen tcp:127.0.0.1:5710 *")
        (moved.firstHostPort, moved.label, moved.line) = (port(5790), "moved", 14)
        var next = PortRule()
        next.match.ports = [PortRange(port(5720), port(5720))].compactMap { $0 }
        next.onConflict = .next
        var ignored = PortRule()
        ignored.match.scope = .loopback
        (ignored.action, ignored.line) = (.ignore, 20)
        let held = try TestListener(.loopbackV4, port: 5720)
        try await serving(rules: [moved, next, ignored]) { place in
            let agent = try await place.guest.startAgent()
            let token = "\(place.guest.directory)/token"
            try String(repeating: "ab", count: 32).write(toFile: token, atomically: true, encoding: .utf8)
            // Any program with a command line would do.
            let program = try await place.guest.start(
                "rum-agent", ["--listen", "tcp:127.0.0.1:5710", "--token-file", token])
            let listener = try await place.guest.listen(port: 5720)
            #expect(try await answer(place, .wait(port: 5790, seconds: 30)).isDone)
            #expect(try await answer(place, .wait(port: 5721, seconds: 30)).isDone)
            #expect(Client.reaches(5790) && Client.reaches(5721))
            let forwards = try await report(place).forwards.filter { $0.kind == "auto" }
            #expect(forwards.map(\.hostPort) == [5721, 5790])
            #expect(forwards.map(\.label) == [nil, "moved"])
            #expect(forwards.map(\.reason) == ["127.0.0.1:5720 is taken", nil])
            let why = try await answer(place, .why(port: 5710))
            #expect(
                why.isDone && why.sentence.hasSuffix(", by the rule \"moved\" on line 14 of rum.toml"),
                "\(why)")
            // Its port for forwards, which no rule moves and which it opens last, listens on loopback.
            try await eventually("5711 is ignored by its rule") {
                let left = try await answer(place, .why(port: 5711))
                return left.reason == "ignored"
                    && left.sentence == "5711 is ignored by the rule on line 20 of rum.toml"
            }
            withExtendedLifetime((agent, program, listener, held)) {}
        }
    }

    @Test("A port whose rule asks is closed until the user allows it, and closes again with a no")
    func asked() async throws {
        var rule = PortRule()
        rule.match.ports = [PortRange(port(5730), port(5739))].compactMap { $0 }
        (rule.action, rule.line) = (.ask, 30)
        let remembered = Mutex<[String]>([])
        let memory: OwnerService.Memory = { answer, port async throws(MachineError) in
            remembered.withLock { $0.append("\(port) \(answer?.rawValue ?? "forgotten")") }
            if port.rawValue == 5739 { throw MachineError(.files, "the disk is full", hint: "free some") }
        }
        try await serving(rules: [rule], remember: memory) { place in
            let agent = try await place.guest.startAgent()
            let listener = try await place.guest.listen(port: 5731)
            try await eventually("it is asked about") {
                try await report(place).forwards.contains { $0.state == "asking" }
            }
            #expect(!Client.reaches(5731))
            let asking = try await report(place).forwards.first { $0.state == "asking" }
            #expect(asking?.reason == "waits for your answer: rum ports allow 5731, or rum ports deny 5731")
            #expect(asking?.isOpen == false)
            let waited = try await answer(place, .wait(port: 5731, seconds: 0.1))
            #expect(waited.reason == "asking" && !waited.isDone)
            let why = try await answer(place, .why(port: 5731))
            #expect(
                why.sentence.hasSuffix("waits for your answer, by the rule on line 30 of rum.toml"), "\(why)")

            let waiting = Task { try await answer(place, .wait(port: 5731, seconds: 30)) }
            let allowed = try await answer(place, .allow(port: 5731))
            #expect(allowed.sentence == "guest port 5731 is allowed: 127.0.0.1:5731 → guest:5731")
            #expect(Client.reaches(5731))
            #expect(try await waiting.value.isDone)
            #expect(try await answer(place, .deny(port: 5731)).reason == "denied")
            #expect(!Client.reaches(5731))
            #expect(try await answer(place, .why(port: 5731)).reason == "denied")
            // At once, since it can't open.
            #expect(try await answer(place, .wait(port: 5731, seconds: 60)).reason == "denied")
            #expect(try await answer(place, .forget(port: nil)).reason == "forgotten")
            #expect(try await answer(place, .why(port: 5731)).reason == "asking")

            #expect(try await answer(place, .allow(port: 5701)).reason == "not_asked")
            #expect(try await answer(place, .allow(port: 0)).reason == "no_port")
            let unkept = try await answer(place, .allow(port: 5739))
            #expect(
                unkept.isDone
                    && unkept.sentence.hasSuffix(", but only until forwarding ends: the disk is full"))
            #expect(
                remembered.withLock { $0 } == ["5731 allow", "5731 deny", "5731 forgotten", "5739 allow"])
            withExtendedLifetime((agent, listener)) {}
        }
    }

    @Test("A program that does not accept is told, and so is a host port that another one holds")
    func stuckAndBusy() async throws {
        try await serving { place in
            let agent = try await place.guest.startAgent()
            try await eventually("the agent is followed") { try await report(place).agent != nil }
            let holder = try TestListener(.loopbackV4, port: 5703)
            let blocked = try await place.guest.listen(port: 5703)
            try await eventually("the port is blocked, and known by whom") {
                let why = try await answer(place, .why(port: 5703))
                return why.reason == "busy_on_host" && why.sentence.contains("(pid \(getpid()))")
            }
            #expect(try await !answer(place, .wait(port: 5703, seconds: 0.1)).isDone)
            withExtendedLifetime((agent, holder, blocked)) {}
        }
    }

    @Test("Forwards are added and removed at run time, or it is said why not")
    func changes() async throws {
        try await serving { place in
            let forward = ControlForward(bind: "127.0.0.1", host: 5681, guest: 80)
            #expect(try await answer(place, .add(forward)).reason == "added")
            #expect(Client.reaches(5681))
            #expect(try await answer(place, .add(forward)).reason == "was_there")
            let rival = ControlForward(bind: "127.0.0.1", host: 5681, guest: 81)
            let taken = try await answer(place, .add(rival))
            #expect(taken.reason == "taken_by_static" && taken.hint?.contains("rm 127.0.0.1:5681:80") == true)
            #expect(try await answer(place, .remove(rival)).reason == "not_there")
            #expect(try await answer(place, .remove(forward)).reason == "removed")
            #expect(!Client.reaches(5681))
            let holder = try TestListener(.loopbackV4, port: 5681)
            let busy = try await answer(place, .add(forward))
            #expect(busy.reason == "busy_on_host" && busy.sentence.contains("(pid \(getpid()))"), "\(busy)")
            #expect(
                try await answer(place, .add(ControlForward(bind: "x", host: 1, guest: 1))).reason
                    == "no_port")
            #expect(try await answer(place, .why(port: 0)).reason == "no_port")
            withExtendedLifetime(holder) {}
        }
    }
}
