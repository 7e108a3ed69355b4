import Foundation
import Glibc
import Linux
import Synchronization
import TestSupport
import Testing

@testable import Control

@Suite("The control socket", .timeLimit(.minutes(1)))
struct ControlServerTests {
    static let hello = ControlHello(rum: "9.9.9", machine: "dev", pid: 7, isBackground: true)
    static let answer = ControlAnswer(isDone: true, reason: "forwarded", sentence: "it is")

    /// Serves while `body` runs.
    private func serving(
        hello: ControlHello = hello, _ handler: @escaping ControlServer.Handler,
        _ body: (_ path: String) async throws -> Void
    ) async throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        let server = try ControlServer(path: path, hello: hello)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await server.serve(handler) }
            try await body(path)
            group.cancelAll()
            while try await group.next() != nil {}
        }
        #expect(!FileManager.default.fileExists(atPath: path))
    }

    /// As `serving`, with one answer to all.
    private func answering(
        hello: ControlHello = hello, _ body: (_ path: String) async throws -> Void
    ) async throws {
        try await serving(hello: hello, { _, peer in peer.send(.answer(Self.answer)) }, body)
    }

    /// A client that says and reads what it is told to.
    private func raw(_ path: String) throws -> OwnedDescriptor {
        let socket = OwnedDescriptor(
            owning: try SystemError.check("socket", Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)))
        try SocketAddress.unix(path: path).connect(socket.rawValue)
        return socket
    }

    private func send(_ text: String, to socket: borrowing OwnedDescriptor) {
        let bytes = Array(text.utf8)
        _ = Glibc.send(socket.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    /// All it gets until the end, or until it is reset.
    private func readToEnd(_ socket: consuming OwnedDescriptor) async throws -> String {
        let number = socket.release()
        return try await onThread {
            let socket = OwnedDescriptor(owning: number)
            var all: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 4096)
            while case let count = recv(socket.rawValue, &chunk, chunk.count, 0), count > 0 {
                all += chunk[..<count]
            }
            return String(decoding: all, as: UTF8.self)
        }
    }

    @Test("A client is greeted and gets its answer, and only the owner may connect")
    func answer() async throws {
        try await answering { path in
            let client = ControlClient(path: path)
            let hello = try await client.hello()
            #expect(hello == Self.hello)
            #expect(try await client.answer(.why(port: 1)) == .answer(Self.answer))
            #expect(try mode(of: path) == 0o600)
        }
    }

    @Test("Nobody serves: a missing and a stale socket say the same, and the next owner replaces the latter")
    func notServed() async throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        await #expect(throws: ControlError.notServed) { try await ControlClient(path: path).hello() }
        // As a crash leaves it.
        _ = try StreamSocket.listen(on: .unix(path: path))
        await #expect(throws: ControlError.notServed) { try await ControlClient(path: path).hello() }
        let next = try ControlServer(path: path, hello: Self.hello)
        withExtendedLifetime(next) {}
    }

    @Test("There is one owner")
    func second() async throws {
        try await answering { path in
            #expect(throws: SystemError.self) { _ = try ControlServer(path: path, hello: Self.hello) }
            let hello = try await ControlClient(path: path).hello()
            #expect(hello == Self.hello)
        }
    }

    @Test("An owner of another version is told apart, and still understands to be greeted and to end")
    func otherVersion() async throws {
        var hello = Self.hello
        hello.version = ControlLimits.version + 1
        try await answering(hello: hello) { [hello] path in
            let client = ControlClient(path: path)
            await #expect(throws: ControlError.otherVersion(hello)) { try await client.answer(.status) }
            let greeting = try await client.hello()
            #expect(greeting == hello)
            #expect(try await client.answer(.stop) == .answer(Self.answer))
        }
    }

    @Test(
        "A server that is none is told, whatever it says", arguments: ["HTTP/1.1 400\r\n\r\n", "{}\n", "\0"])
    func stranger(says: String) async throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        let listener = try StreamSocket.listen(on: .unix(path: path))
        let result = Task { try await ControlClient(path: path).answer(.status) }
        try await eventually("a client") {
            let number = accept(listener.rawValue, nil, nil)
            guard number >= 0 else { return false }
            send(says, to: OwnedDescriptor(owning: number))
            return true
        }
        await #expect(throws: ControlError.self) { try await result.value }
    }

    @Test(
        "Bad requests end their connection with a word, and no other one",
        arguments: ["{\n", "\n", "{\"request\":\"x\"}\n"])
    func badRequest(text: String) async throws {
        try await answering { path in
            let socket = try raw(path)
            send(text, to: socket)
            let said = try await readToEnd(socket)
            #expect(said.contains(#"{"error":"#), "it said: \(said)")
            #expect(try await ControlClient(path: path).hello() == Self.hello)
        }
    }

    @Test("A request without an end, and one that is too long, cost their sender the connection")
    func endless() async throws {
        try await answering { path in
            let silent = try raw(path)
            let long = try raw(path)
            send(String(repeating: "x", count: 2 * ControlLimits.request), to: long)
            let said = [try await readToEnd(silent), try await readToEnd(long)]
            for text in said { #expect(text.split(separator: "\n").count == 1, "it said: \(text)") }
        }
    }

    @Test("The messages of a stream come in order, and a client that goes ends what is done for it")
    func stream() async throws {
        let ended = Atomic(false)
        try await serving { _, peer in
            for number in 0..<1000 { peer.send(.said("\(number)")) }
            try? await Task.sleep(for: .seconds(60))
            ended.store(Task.isCancelled, ordering: .relaxed)
        } _: { path in
            var next = 0
            for try await message in ControlClient(path: path).messages(.events) {
                guard case .said(let text) = message else { continue }
                #expect(text == "\(next)")
                next += 1
                if next == 1000 { break }
            }
            try await eventually("the handler was cancelled") { ended.load(ordering: .relaxed) }
        }
    }

    @Test("A client that does not read is dropped, and holds nobody up")
    func slow() async throws {
        let sent = Atomic(0)
        try await serving { request, peer in
            guard request == .events else { return peer.send(.answer(Self.answer)) }
            let text = String(repeating: "x", count: 64 << 10)
            for _ in 0..<100 {
                peer.send(.said(text))
                sent.add(1, ordering: .relaxed)
            }
            await peer.untilGone()
            sent.add(1, ordering: .relaxed)
        } _: { path in
            let socket = try raw(path)
            send("{\"request\":\"events\"}\n", to: socket)
            try await eventually("all is sent, and the client dropped") {
                sent.load(ordering: .relaxed) == 101
            }
            #expect(try await ControlClient(path: path).answer(.status) == .answer(Self.answer))
            withExtendedLifetime(socket) {}
        }
    }

    @Test("There are so many clients at once, and the next one is told")
    func crowd() async throws {
        try await serving { _, peer in
            peer.send(.said("in"))
            await peer.untilGone()
        } _: { path in
            await withThrowingTaskGroup(of: Void.self) { group in
                let arrivals = AsyncStream<Void>.makeStream()
                for _ in 0..<ControlLimits.clients {
                    group.addTask {
                        for try await message in ControlClient(path: path).messages(.events) {
                            if case .said = message { arrivals.continuation.yield() }
                        }
                    }
                }
                var arrived = arrivals.stream.makeAsyncIterator()
                for _ in 0..<ControlLimits.clients { await arrived.next() }
                await #expect(throws: ControlError.refused(.tooManyClients)) {
                    try await ControlClient(path: path).answer(.status)
                }
                group.cancelAll()
            }
            try await eventually("there is room again") {
                (try? await ControlClient(path: path).hello()) != nil
            }
        }
    }

    @Test("Without descriptors clients wait, which is told once and costs nothing, and then they are greeted")
    func outOfDescriptors() async {
        await #expect(processExitsWith: .success) {
            let folder = try TestFolder()
            let path = folder.path + "/control.sock"
            let server = try ControlServer(path: path, hello: Self.hello)
            let said = Mutex<[SystemError]>([])
            let serving = Task {
                try await server.serve(tell: { error in said.withLock { $0.append(error) } }) { _, _ in }
            }
            #expect(try await ControlClient(path: path).hello() == Self.hello)
            let client = try StreamSocket.prepare(for: .unix(path: path)).release()
            let share = try await onThread {
                try withoutDescriptors {
                    try StreamSocket.beginConnecting(client, to: .unix(path: path))
                    let limit = ContinuousClock.now + .seconds(5)
                    while said.withLock({ $0.isEmpty }), .now < limit { usleep(500) }
                    return processorShare(during: .milliseconds(200))
                }
            }
            #expect(share < 0.25, "of a CPU")
            #expect(said.withLock { $0.map(\.code) } == [EMFILE])
            var entry = pollfd(fd: client, events: Int16(POLLIN), revents: 0)
            #expect(poll(&entry, 1, 5000) == 1 && entry.revents == Int16(POLLIN))
            close(client)
            serving.cancel()
            try await serving.value
        }
    }

    @Test("What an owner says last reaches its clients")
    func farewell() async throws {
        let folder = try TestFolder()
        let path = folder.path + "/control.sock"
        let server = try ControlServer(path: path, hello: Self.hello)
        let client = Mutex<ControlPeer?>(nil)
        let serving = Task {
            try await server.serve { _, peer in
                client.withLock { $0 = peer }
                await peer.untilGone()
            }
        }
        let last = Task {
            var last: ControlMessage?
            for try await message in ControlClient(path: path).messages(.events) { last = message }
            return last
        }
        try await eventually("a client") { client.withLock { $0 != nil } }
        client.withLock { $0?.send(.ended(ControlEnd(code: 3))) }
        serving.cancel()
        try await serving.value
        #expect(try await last.value == .ended(ControlEnd(code: 3)))
    }
}
