import AgentAPI
import AgentSession
import GRPCCore
import GRPCProtobuf
import Linux
import Ports
import SwiftProtobuf
import TestSupport
import Testing

@Suite("Large tables", .timeLimit(.minutes(5)), .tags(.timed))
struct LargeTableTests {
    /// Every port, listened on at `addresses` addresses, encoded as large as a listener can be.
    static func everyPort(addresses: UInt8) -> [ListeningSocket] {
        let bytes: [UInt8] = [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        let all = (1...addresses).compactMap { IPAddress(networkBytes: bytes + [$0]) }
        return (1...UInt16.max).flatMap { number in
            all.map {
                ListeningSocket(
                    address: $0, port: port(number), ipv6Only: true, interfaceIndex: UInt32(Int32.max),
                    process: ListeningProcess(pid: .max, name: "fifteen-letters"), listenedAt: 1 << 62)
            }
        }
    }

    @Test(
        "Every port with seven addresses, the longest names and a time arrives; with two by polls",
        arguments: [(false, 7), (true, 2)] as [(Bool, UInt8)])
    func largest(alwaysPoll: Bool, addresses: UInt8) async throws {
        let listeners = Self.everyPort(addresses: addresses)
        let tables = ScriptedTables()
        tables.publish(listeners: listeners)
        let counts = Recorder<Int>()
        try await withServer(tables) { directory in
            let follower = AgentFollower(token: nil, range: .all, alwaysPoll: alwaysPoll) {
                try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follower.run {
                        if case .table(let table, _) = $0 { counts.add(table.listeners.count) }
                    }
                }
                try await eventually(within: .seconds(60)) { !counts.all.isEmpty }
                group.cancelAll()
            }
        }
        #expect(counts.all.first == listeners.count)
    }

    @Test(
        "A table beyond the limit is one problem, and neither a loss of the agent nor a storm of connections")
    func tooLarge() async throws {
        let dials = Recorder<Int>()
        let problems = Recorder<AgentWaiting>()
        try await withServer(OversizedAgent()) { directory in
            let follower = AgentFollower(token: nil, range: .all) {
                dials.add(1)
                return try StreamSocket.connect(to: directory.rpcAddress)
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await follower.run(waiting: { problems.add($0) }, { _ in }) }
                // On a busy machine a heartbeat may give up first, while 32 MiB are made and read.
                try await eventually(within: .seconds(60)) { problems.all.last?.problem == .tableTooLarge }
                // It would connect again within a tenth of this.
                try await Task.sleep(for: .seconds(2))
                group.cancelAll()
            }
        }
        #expect(problems.all.map(\.problem).filter { $0 != .noAnswerInTime } == [.tableTooLarge])
        #expect(dials.all.count == problems.all.count)
        #expect("\(AgentProblem.tableTooLarge)".contains("32 MiB"))
    }
}

/// Its table is larger than the host takes.
private struct OversizedAgent: RegistrableRPCService {
    func registerMethods<Transport: ServerTransport>(with router: inout RPCRouter<Transport>) {
        router.answerPing { .with { $0.version = "0.1" } }
        router.registerHandler(
            forMethod: Rum_V1_RumAgent.Method.WatchListeningPorts.descriptor,
            deserializer: ProtobufDeserializer<Rum_V1_ListeningPortsRequest>(),
            serializer: ProtobufSerializer<Rum_V1_ListeningPortsResponse>()
        ) { _, context in
            StreamingServerResponse { writer in
                try await writer.write(
                    .with { $0.degraded = String(repeating: "x", count: AgentLimits.largestMessage) })
                try await context.cancellation.cancelled
                return [:]
            }
        }
    }
}
