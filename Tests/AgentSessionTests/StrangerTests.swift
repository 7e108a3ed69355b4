import AgentAPI
import AgentChannel
import AgentService
import AgentSession
import Foundation
import GRPCCore
import Glibc
import Linux
import NIOCore
import Ports
import TestSupport
import Testing

/// Connections to the RPC port that nobody who may ask has made.
@Suite("Strangers on the RPC port", .timeLimit(.minutes(1)))
struct StrangerTests {
    private let token = MachineToken.random()

    private func server() -> AgentServer {
        let service = RumAgentService(
            tables: ScriptedTables([5001]), hostname: "guest", instanceID: "one", bootID: "boot")
        return AgentServer(service: service, token: token)
    }

    @Test("400 silent connections keep no host waiting, and soon hold nothing", .tags(.timed))
    func silent() async throws {
        let server = server()
        let before = try openDescriptors()
        try await withServer(server) { directory in
            let strangers = try await Strangers(400, on: directory.rpcAddress)
            let start = ContinuousClock.now
            let info = try await AgentConnection.with(token: token, firstAnswerWithin: .seconds(1)) {
                try await Strangers.connect(to: directory.rpcAddress)
            } _: {
                $0.info
            }
            #expect(start.duration(to: .now) < .seconds(1))
            #expect(info.hostname == "guest")
            try await eventually("few are left") {
                server.connections.all <= AgentLimits.unprovenConnections
            }
            // The strangers' own ends are descriptors of this process too.
            #expect(try openDescriptors() <= before + strangers.count + AgentLimits.unprovenConnections + 40)
            try await eventually("none are left", within: AgentLimits.proof + .seconds(2)) {
                server.connections.all == 0
            }
        }
    }

    @Test(
        "A host that is followed outlives a steady flood, and one that comes later is answered", .tags(.timed)
    )
    func flood() async throws {
        let server = server()
        try await withServer(server) { directory in
            try await withAgent(in: directory, showing: token) { early in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    group.addTask {
                        while !Task.isCancelled {
                            let some = try await Strangers(50, on: directory.rpcAddress)
                            try? await Task.sleep(for: .milliseconds(20))
                            _ = some
                        }
                    }
                    let connected = Recorder<String>()
                    let late = AgentFollower(token: token, range: nil) {
                        try await Strangers.connect(to: directory.rpcAddress)
                    }
                    group.addTask {
                        try await late.run {
                            if case .connected(let info, _, _) = $0 { connected.add(info.hostname) }
                        }
                    }
                    try await eventually("the late one is answered", within: .seconds(3)) {
                        !connected.all.isEmpty
                    }
                    for _ in 0..<20 { _ = try await early.ping(timeout: .seconds(1)) }
                    group.cancelAll()
                    while await group.nextResult() != nil {}
                }
                // The two hosts, and a few that are just being closed.
                #expect(server.connections.all <= AgentLimits.unprovenConnections + 10)
            }
        }
    }

    @Test("Connections that speak and show no token keep no host away", .tags(.timed))
    func speakers() async throws {
        let server = server()
        try await withServer(server) { directory in
            let strangers = try await Strangers(AgentLimits.unprovenConnections, on: directory.rpcAddress)
            try await strangers.speak()
            let info = try await AgentConnection.with(token: token, firstAnswerWithin: .seconds(10)) {
                try await Strangers.connect(to: directory.rpcAddress)
            } _: {
                $0.info
            }
            #expect(info.hostname == "guest")
        }
    }

    /// What a stranger says on its connection.
    enum Speech: CaseIterable { case preface, callWithoutToken, callWithWrongToken, callWithToken }

    @Test("Only a call with the token makes a connection stay", arguments: Speech.allCases)
    func speaking(_ speech: Speech) async throws {
        let server = server()
        try await withServer(server) { directory in
            let start = ContinuousClock.now
            let socket = try await Strangers.connect(to: directory.rpcAddress)
            let bytes =
                switch speech {
                case .preface: RawCall.preface
                case .callWithoutToken: RawCall.ping(token: nil)
                case .callWithWrongToken: RawCall.ping(token: MachineToken.random().text)
                case .callWithToken: RawCall.ping(token: token.text)
                }
            #expect(send(socket.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
            try await eventually("it was admitted") { server.connections.all == 1 }
            if speech == .callWithToken {
                try await eventually("it is proven") { server.connections.unproven == 0 }
                try await Task.sleep(for: AgentLimits.proof + .milliseconds(500))
                #expect(server.connections.all == 1)
            } else {
                try await eventually("it was ended", within: .seconds(10)) { server.connections.all == 0 }
                #expect(start.duration(to: .now) > .seconds(1))
            }
        }
    }

    @Test("Idle strangers cost the agent no processor time", .tags(.timed))
    func idle() async throws {
        let server = server()
        try await withServer(server) { directory in
            let strangers = try await Strangers(400, on: directory.rpcAddress)
            try await eventually { server.connections.all <= AgentLimits.unprovenConnections }
            let before = processCPU()
            try await Task.sleep(for: .seconds(1))
            #expect(processCPU() - before < .milliseconds(200))
            _ = strangers
        }
    }

    @Test(
        "On vsock only the host is served",
        arguments: [(2, true), (3, false), (1, false), (nil, true)] as [(UInt32?, Bool)])
    func contextID(cid: UInt32?, isServed: Bool) async throws {
        let service = RumAgentService(
            tables: ScriptedTables(), hostname: "guest", instanceID: "one", bootID: "boot")
        let server = AgentServer(
            service: service, token: nil,
            peers: PeerLookup { $0.eventLoop.makeSucceededFuture(cid) })
        try await withServer(server) { directory in
            let answer = await Swift.Result.catching {
                try await AgentConnection.with(token: nil) {
                    try StreamSocket.connect(to: directory.rpcAddress)
                } _: {
                    $0.info.hostname
                }
            }
            #expect((try? answer.get()) == (isServed ? "guest" : nil))
        }
    }

    @Test("A peer whose context can't be found out is not served")
    func unknownContextID() async throws {
        let service = RumAgentService(
            tables: ScriptedTables(), hostname: "guest", instanceID: "one", bootID: "boot")
        let server = AgentServer(
            service: service, token: nil,
            peers: PeerLookup { $0.eventLoop.makeFailedFuture(ChannelError.alreadyClosed) })
        try await withServer(server) { directory in
            await #expect(throws: (any Error).self) {
                try await AgentConnection.with(token: nil) {
                    try StreamSocket.connect(to: directory.rpcAddress)
                } _: { _ in
                }
            }
            #expect(server.connections.all == 0)
        }
    }

    @Test("A server that ends while clients connect ends in order, again and again")
    func endsUnderConnects() async throws {
        let before = try openDescriptors()
        for round in 0..<200 {
            let server = server()
            let directory = try TestFolder()
            let listener = try StreamSocket.listen(on: directory.rpcAddress).release()
            let serving = Task { try await server.serve(on: OwnedDescriptor(owning: listener)) }
            let clients = (0..<8).compactMap { _ in
                try? StreamSocket.connect(to: directory.rpcAddress).release()
            }
            for client in clients {
                let bytes = RawCall.ping(token: token.text)
                _ = send(client, bytes, bytes.count, Int32(MSG_NOSIGNAL))
            }
            if round % 2 == 0 { try await Task.sleep(for: .microseconds(round * 10)) }
            serving.cancel()
            _ = await serving.result
            for client in clients { close(client) }
            try await eventually("every connection is closed") { server.connections.all == 0 }
        }
        try await eventually("no descriptor is left") { try openDescriptors() < before + 10 }
    }
}

/// Connected sockets that say nothing, unless asked to.
final class Strangers: Sendable {
    private let sockets: [Int32]

    var count: Int { sockets.count }

    init(_ count: Int, on address: Linux.SocketAddress) async throws {
        var sockets: [Int32] = []
        for _ in 0..<count { sockets.append(try await Self.connect(to: address).release()) }
        self.sockets = sockets
    }

    deinit { for socket in sockets { close(socket) } }

    /// Has each say what HTTP/2 begins with, and returns when all of them have been answered.
    func speak() async throws {
        for socket in sockets {
            let bytes = RawCall.preface
            #expect(send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
        }
        for socket in sockets { try await eventually { StreamSocket.readableBytes(socket) > 0 } }
    }

    /// Connects, however long the queue of those who want the same is.
    static func connect(to address: Linux.SocketAddress) async throws -> OwnedDescriptor {
        while true {
            do throws(SystemError) {
                return try StreamSocket.connect(to: address)
            } catch {
                // The backlog is full (unix(7)).
                guard error.code == EAGAIN else { throw error }
                try await Task.sleep(for: .milliseconds(1))
            }
        }
    }
}

private func openDescriptors() throws -> Int {
    try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
}

private func processCPU() -> Duration {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return .seconds(Int64(time.tv_sec)) + .nanoseconds(Int64(time.tv_nsec))
}

extension Result where Failure == any Error {
    fileprivate static func catching(_ body: () async throws -> Success) async -> Self {
        do { return .success(try await body()) } catch { return .failure(error) }
    }
}
