import AgentAPI
import AgentSession
import GRPCCore
import GRPCProtobuf
import Linux
import Ports
import SwiftProtobuf
import TestSupport
import Testing

@Suite("Agents older and newer than the host", .timeLimit(.minutes(1)))
struct OtherVersionTests {
    @Test("An agent without the stream is polled, and followed as closely as polls allow")
    func older() async throws {
        let tables = ScriptedTables([5001])
        let events = Recorder<String>()
        try await withServer(OlderAgent(tables: tables)) { directory in
            try await following(Self.follower(directory), events) {
                try await eventually { events.all.last == "5001" }
                tables.publish([5001, 5002])
                try await eventually { events.all.last == "5001 5002" }
            }
        }
        #expect(events.all.first == "poll")
        #expect(!events.all.contains("lost"))
    }

    @Test("An agent that cannot explain a port is told apart from one that knows nothing of it")
    func cannotExplain() async throws {
        try await withServer(OlderAgent(tables: ScriptedTables())) { directory in
            try await withAgent(in: directory) { agent in
                let answer = try await agent.explainPort(port(5001))
                #expect(answer == nil)
                #expect(agent.info.execVersion == 0)
            }
        }
    }

    @Test("What only a newer agent knows is passed over: words, fields and their numbers")
    func newer() async throws {
        let events = Recorder<String>()
        try await withServer(NewerAgent()) { directory in
            try await following(Self.follower(directory), events) {
                try await eventually { events.all.last == "5001" }
            }
        }
        #expect(events.all == ["stream", "5001"])
    }

    /// A follower that has no feed.
    private static func follower(_ directory: TestFolder) -> AgentFollower {
        AgentFollower(token: nil, range: .all) { try StreamSocket.connect(to: directory.rpcAddress) }
    }
}

/// The service before it had the stream: another method is UNIMPLEMENTED.
private struct OlderAgent: RegistrableRPCService {
    let tables: ScriptedTables

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.answerPing { .with { $0.version = "0.0.1" } }
        router.registerHandler(
            forMethod: Rum_V1_RumAgent.Method.ListeningPorts.descriptor,
            deserializer: ProtobufDeserializer<Rum_V1_ListeningPortsRequest>(),
            serializer: ProtobufSerializer<Rum_V1_ListeningPortsResponse>()
        ) { _, _ in
            StreamingServerResponse(single: ServerResponse(message: tables.current(in: .all).message))
        }
    }
}

/// Speaks of modes, pushes and fields that this version does not have.
private struct NewerAgent: RegistrableRPCService {
    /// Field 1000, a varint: 7 (protobuf.dev, encoding).
    private static let unknownField: [UInt8] = [0xC0, 0x3E, 0x07]

    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.answerPing {
            var answer = try Rum_V1_PingResponse(serializedBytes: Self.unknownField)
            answer.version = "99.0.0"
            (answer.mode, answer.push) = ("bpf", "telepathy")
            return answer
        }
        router.registerHandler(
            forMethod: Rum_V1_RumAgent.Method.WatchListeningPorts.descriptor,
            deserializer: ProtobufDeserializer<Rum_V1_ListeningPortsRequest>(),
            serializer: ProtobufSerializer<Rum_V1_ListeningPortsResponse>()
        ) { _, context in
            var table = ScriptedTables.table([5001], revision: 1).message
            try table.merge(serializedBytes: Self.unknownField)
            (table.mode, table.push) = ("bpf", "telepathy")
            let answer = table
            return StreamingServerResponse { writer in
                try await writer.write(answer)
                try await context.cancellation.cancelled
                return [:]
            }
        }
    }
}
