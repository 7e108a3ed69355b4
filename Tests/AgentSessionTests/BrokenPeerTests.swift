import AgentAPI
import AgentChannel
import AgentService
import AgentSession
import GRPCCore
import Glibc
import Linux
import NIOCore
import Synchronization
import TestSupport
import Testing

/// Peers on the RPC port that do not keep to the protocol.
@Suite("Peers that break the protocol", .timeLimit(.minutes(1)))
struct BrokenPeerTests {
    @Test("A peer that says much and is gone before it is answered ends its own connection only")
    func goneAtOnce() async {
        await #expect(processExitsWith: .success) {
            let token = MachineToken.random()
            let service = RumAgentService(
                tables: ScriptedTables(), hostname: "guest", instanceID: "one", bootID: "boot")
            let server = AgentServer(service: service, token: token)
            try await withServer(server) { directory in
                for first in [[], RawCall.preface, RawCall.ping(token: token.text)] {
                    let bytes = first + [UInt8](repeating: 0, count: 50_000)
                    for _ in 0..<20 {
                        let stranger = try await Strangers.connect(to: directory.rpcAddress)
                        let sent = send(stranger.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                        #expect(sent == bytes.count)
                    }
                }
                try await eventually("all are gone") { server.connections.all == 0 }
                try await withAgent(in: directory, showing: token) { #expect($0.info.hostname == "guest") }
            }
        }
    }

    @Test("A time limit below zero, or of no sense, ends nothing")
    func timeLimit() async {
        await #expect(processExitsWith: .success) {
            let token = MachineToken.random()
            try await withServer(ScriptedTables(), token: token) { directory in
                for timeout in ["-1S", "-9999999H", "+1S", "S", "0n", "99999999H", "1"] {
                    for shown in [nil, token.text] {
                        let peer = try await Strangers.connect(to: directory.rpcAddress)
                        let bytes = RawCall.ping(token: shown, timeout: timeout)
                        #expect(send(peer.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
                        // The settings and their acknowledgement are 42 bytes; what follows answers the call.
                        try await eventually("the call is answered") {
                            StreamSocket.readableBytes(peer.rawValue) > 60
                        }
                    }
                }
                try await withAgent(in: directory, showing: token) { #expect($0.info.hostname == "guest") }
            }
        }
    }

    @Test("A status below zero, or of no sense, ends the agent's connection only")
    func status() async {
        await #expect(processExitsWith: .success) {
            for status in ["-1", "-200", "0", "99", "x", "", "1000", "99999999999999999999"] {
                let (host, agent) = try Self.pair()
                async let answer: Void = Self.answerCall(on: agent, status: status)
                await #expect(throws: RPCError.self) {
                    try await AgentConnection.with(
                        token: nil, dial: { OwnedDescriptor(owning: host) }, { $0.info.hostname })
                }
                try await answer
            }
        }
    }

    private static func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        _ = try SystemError.check("socketpair", socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends))
        return (ends[0], ends[1])
    }

    /// Answers the first call over a socket, which it closes.
    private static func answerCall(on number: Int32, status: String) async throws {
        let agent = OwnedDescriptor(owning: number)
        _ = send(agent.rawValue, RawCall.settings, RawCall.settings.count, Int32(MSG_NOSIGNAL))
        try await eventually("a call comes") {
            var said = [UInt8](repeating: 0, count: 4096)
            let count = recv(agent.rawValue, &said, said.count, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
            return RawCall.hasCall(Array(said.prefix(max(0, count))))
        }
        let bytes = RawCall.answer(status: status)
        _ = send(agent.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL))
    }

    @Test(
        "Of a connection that is closed for what its peer says nothing is left",
        arguments: [false, true]
    )
    func nothingIsLeft(_ showsToken: Bool) async throws {
        let (channels, token) = (Forgotten(), MachineToken.random())
        let service = RumAgentService(
            tables: ScriptedTables(), hostname: "guest", instanceID: "one", bootID: "boot")
        let server = AgentServer(
            service: service, token: token,
            peers: PeerLookup { channel in
                channels.add(channel)
                return channel.eventLoop.makeSucceededFuture(nil)
            })
        try await withServer(server) { directory in
            for _ in 0..<20 {
                let stranger = try await Strangers.connect(to: directory.rpcAddress)
                let bytes = RawCall.emptyFrames(100, token: showsToken ? token.text : nil)
                #expect(send(stranger.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count)
                // NIO takes a few such frames.
                try await eventually("it is closed") {
                    var byte: UInt8 = 0
                    while recv(stranger.rawValue, &byte, 1, Int32(MSG_DONTWAIT)) > 0 {}
                    return recv(stranger.rawValue, &byte, 1, Int32(MSG_DONTWAIT)) == 0 || errno != EAGAIN
                }
            }
            #expect(channels.count == 20)
            try await eventually("nothing is left") { channels.left == 0 }
        }
    }
}

/// Connections that should be gone, and are not kept here.
private final class Forgotten: Sendable {
    private struct Weak: @unchecked Sendable { weak var channel: (any Channel)? }

    private let channels = Mutex<[Weak]>([])

    var count: Int { channels.withLock { $0.count } }
    var left: Int { channels.withLock { $0.count { $0.channel != nil } } }

    func add(_ channel: any Channel) { channels.withLock { $0.append(Weak(channel: channel)) } }
}
