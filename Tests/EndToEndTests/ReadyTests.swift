import AgentAPI
import AgentChannel
import Control
import Foundation
import Glibc
import HostForward
import Linux
import LiveKernel
import PortForward
import Ports
import Relay
import Synchronization
import TestSupport
import Testing

@testable import rum

/// Programs that listen, accept and answer, or do not: told by the owner, and by the commands that ask it.
@Suite("Waiting until a program is ready", .serialized, .timeLimit(.minutes(2)))
struct ReadyTests {
    private struct Place {
        let machine: BackgroundTests.Place
        let guest: Guest
        let agent: Program

        /// What a command says and how it ends.
        func rum(_ words: String...) async throws -> (lines: [String], status: Int32?) {
            let run = try await machine.run(words)
            return (run.lines, run.status)
        }
    }

    /// Plays the owner of a machine's forwards, with an agent in a namespace that plays the guest.
    private func serving(host: UInt16, _ body: (Place) async throws -> Void) async throws {
        let guest = try await Guest()
        let place = Place(
            machine: try BackgroundTests.Place(host: host), guest: guest, agent: try await guest.startAgent())
        let (followed, isFollowed) = AsyncStream.makeStream(of: Void.self)
        let address = AgentAddress.unix(directory: place.guest.directory)
        let subscribers = Subscribers()
        let hello = ControlHello(rum: rumVersion, machine: "bg", pid: getpid(), isBackground: true)
        let session = ForwardSession(
            agent: address, token: nil,
            policy: ForwardPolicy(autoPorts: PortRange(text: "5840-5859").map { .init(range: $0) }),
            engine: try RelayEngine()
        ) { event in
            subscribers.tell(.event(ControlEvent(line: event.line, object: EventDocument(event))))
        }
        let service = OwnerService(
            hello: hello, session: session, guest: GuestQuestions(address: address, token: nil),
            subscribers: subscribers)
        let server = try ControlServer(path: place.machine.machine + "/control.sock", hello: hello)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve { await service.handle($0, $1) } }
            group.addTask { try await session.run(ready: { _ in isFollowed.finish() }) }
            for await _ in followed {}
            try await body(place)
            group.cancelAll()
        }
    }

    @Test("A program that listens is ready once it accepts, and an HTTP server once it answers as it should")
    func ready() async throws {
        try await serving(host: 5694) { place in
            var ready = try await place.rum("ports", "wait", "bg", "5840", "--ready", "--timeout", "300ms")
            #expect(
                ready.status == 1 && ready.lines.first?.contains("nothing in the guest listens") == true,
                "\(ready)")

            let listener = try await place.guest.listen(port: 5840)
            let open = try await place.rum("ports", "wait", "bg", "5840")
            #expect(open.status == 0 && open.lines == ["127.0.0.1:5840 → guest:5840"])
            ready = try await place.rum(
                "ports", "wait", "bg", "5840", "--ready", "--timeout", "1500ms", "--json")
            #expect(ready.status == 1)
            let object = try #require(
                try JSONSerialization.jsonObject(with: Data(ready.lines.joined().utf8)) as? [String: Any])
            #expect(object["done"] as? Bool == false && object["reason"] as? String == "not_accepting")
            let sentence = "has not accepted a connection yet: "
            #expect((object["sentence"] as? String)?.contains(sentence) == true, "\(object)")
            #expect(object["port"] as? Int == 5840 && object["hint"] is String)

            // One visitor a question, however often it looks.
            #expect(listener.isReadable(within: 0))
            let server = try HTTPServer(listener)
            ready = try await place.rum("ports", "wait", "bg", "5840", "--ready")
            #expect(ready.status == 0)
            #expect(
                ready.lines.first?.hasPrefix("127.0.0.1:5840 → guest:5840, where ") == true
                    && ready.lines.first?.hasSuffix(" accepts connections") == true, "\(ready)")
            #expect(server.visitors.withLock { $0 } <= 3)

            ready = try await place.rum("ports", "wait", "bg", "5840", "--http", "200", "--timeout", "1s")
            #expect(ready.status == 1)
            #expect(ready.lines.first?.hasSuffix("answers GET / with 503, not 200") == true, "\(ready)")
            ready = try await place.rum("ports", "wait", "bg", "5840", "--http", "any", "--timeout", "1s")
            #expect(
                ready.lines.first?.hasSuffix("answers GET / with 503") == true && ready.status == 1,
                "\(ready)")
            ready = try await place.rum(
                "ports", "wait", "bg", "5840", "--http", "any", "--path", "/health?a=1")
            #expect(
                ready.status == 0
                    && ready.lines.first?.hasSuffix("and answers GET /health?a=1 with 404") == true,
                "\(ready)")
            server.status.store(200, ordering: .relaxed)
            ready = try await place.rum("ports", "wait", "bg", "5840", "--http", "200", "--json")
            #expect(
                ready.status == 0
                    && ready.lines.first?.contains(#""reason":"ready""#) == true, "\(ready)")
            #expect(server.hosts.withLock { $0 } == ["localhost:5840"])
            await server.end()

            let never = try await place.rum("ports", "wait", "bg", "4000", "--ready")
            #expect(never.status == 1 && never.lines.first?.contains("out of the range") == true, "\(never)")
            for words in [["--path", "/x"], ["--http", "2"], ["--http", "any", "--path", "x y"]] {
                let bad = try await place.machine.run(["ports", "wait", "bg", "5840"] + words)
                #expect(bad.status == 2, "\(words)")
            }
        }
    }

    @Test("A program is not ready because the agent has stopped to tell whether it has accepted")
    func silentAgent() async throws {
        try await serving(host: 5697) { place in
            let listener = try await place.guest.listen(port: 5844)
            let wait = try place.machine.start(
                "ports", "wait", "bg", "5844", "--ready", "--timeout", "8s", "--json")
            try await eventually("the owner's connection waits") { listener.isReadable(within: 0) }
            // By the end of another one the agent has answered the first.
            let other = try await place.rum("ports", "wait", "bg", "5844", "--ready", "--timeout", "1s")
            #expect(other.lines.first?.contains("has not accepted a connection yet") == true, "\(other)")
            place.agent.send(SIGSTOP)
            try await eventually("it ended; it said: \(wait.lines)") { wait.status != nil }
            place.agent.send(SIGCONT)
            // What it told last, or nothing in time; the agent's silence is noticed within 5 s.
            #expect(wait.status == 1, "\(wait.lines)")
            #expect(wait.lines.joined().contains(#""done":false"#), "\(wait.lines)")
            withExtendedLifetime(listener) {}
        }
    }

    @Test("A program that comes up while it is waited for is ready then, at `rum up --wait` too")
    func up() async throws {
        try await serving(host: 5695) { place in
            let following = try place.machine.start(
                "up", "bg", "--wait", "5841", "--wait", "5842", "--timeout", "20s")
            let json = try place.machine.start("up", "bg", "--wait", "5841", "--json", "--timeout", "20s")
            let detached = try place.machine.start("up", "-d", "bg", "--wait", "5841", "--timeout", "20s")
            try await following.waits(for: "forwarded by a background process")
            let first = try HTTPServer(try await place.guest.listen(port: 5841))
            try await following.waits(for: "Ready: 127.0.0.1:5841 → guest:5841, where ")
            #expect(!following.lines.contains { $0.contains("Ready: 127.0.0.1:5842") })
            try await json.waits(for: #"{"event":"ready","host_port":5841,"sentence":"127.0.0.1:5841 "#)
            try await detached.waits(for: "Ready: 127.0.0.1:5841")
            try await eventually("-d has returned; it said: \(detached.lines)") { detached.status != nil }
            #expect(detached.status == 0, "\(detached.lines)")
            let second = try HTTPServer(try await place.guest.listen(port: 5842))
            try await following.waits(for: "Ready: 127.0.0.1:5842")
            #expect(following.status == nil && json.status == nil)
            await first.end()
            await second.end()
        }
    }

    @Test(
        "One that is not ready in time ends `rum up` with exit code 1 and the reason",
        arguments: [[], ["-d"]])
    func late(_ words: [String]) async throws {
        try await serving(host: 5696) { place in
            let listener = try await place.guest.listen(port: 5843)
            let up = try await place.machine.run(["up", "bg", "--wait", "5843", "--timeout", "1s"] + words)
            #expect(up.status == 1)
            let error = up.lines.first { $0.hasPrefix("error: ") }
            #expect(
                error?.hasPrefix("error: port 5843 is not ready: 127.0.0.1:5843 → guest:5843 is open, but ")
                    == true,
                "\(up.lines)")
            #expect(
                up.lines.last?.hasPrefix("hint: ") == true
                    && up.lines.last?.contains("the machine runs on") == true)
            withExtendedLifetime(listener) {}
        }
    }
}

/// Answers each request with one status, and 404 for other paths than `/`.
private final class HTTPServer: Sendable {
    let status = Atomic(503)
    let visitors = Mutex(0)
    let hosts = Mutex<Set<String>>([])
    private let ended = Atomic(false)
    private let thread = Mutex<BackgroundThread?>(nil)

    init(_ listener: TestListener) throws {
        let started = try BackgroundThread { [self] in serve(listener) }
        thread.withLock { $0 = started }
    }

    func end() async {
        ended.store(true, ordering: .relaxed)
        await thread.withLock { $0 }?.end()
    }

    private func serve(_ listener: TestListener) {
        while !ended.load(ordering: .relaxed) {
            guard listener.isReadable(within: 20) else { continue }
            let number = accept(listener.descriptor.rawValue, nil, nil)
            guard number >= 0 else { continue }
            let client = OwnedDescriptor(owning: number)
            visitors.withLock { $0 += 1 }
            var buffer = [UInt8](repeating: 0, count: 4096)
            let count = recv(number, &buffer, buffer.count, 0)
            guard count > 0 else { continue }
            let lines = String(decoding: buffer[..<count], as: UTF8.self).split(separator: "\r\n")
            for line in lines where line.hasPrefix("Host: ") {
                hosts.withLock { _ = $0.insert(String(line.dropFirst(6))) }
            }
            let code = lines.first == "GET / HTTP/1.1" ? status.load(ordering: .relaxed) : 404
            let answer = Array("HTTP/1.1 \(code) Whatever\r\nContent-Length: 0\r\n\r\n".utf8)
            _ = send(client.rawValue, answer, answer.count, Int32(MSG_NOSIGNAL))
        }
    }
}
