import AgentAPI
import AgentChannel
import AgentService
import AgentSession
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
