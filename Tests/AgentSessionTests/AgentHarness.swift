import AgentAPI
import AgentChannel
import AgentService
import AgentSession
import GRPCCore
import GRPCProtobuf
import Glibc
import Linux
import Ports
import Synchronization
import TestSupport

/// Tables that a test publishes by hand.
final class ScriptedTables: ListenTableProvider {
    private struct State {
        var table: ListenTable
        var readers: [Int: @Sendable (ListenTable) -> Void] = [:]
        var next = 0
        var observer: @Sendable (ListenTable) -> Void = { _ in }
    }

    private let state: Mutex<State>

    init(_ ports: [UInt16] = []) { state = Mutex(State(table: Self.table(ports, revision: 1))) }

    static func table(_ ports: [UInt16], revision: UInt64) -> ListenTable {
        ListenTable(
            revision: revision, source: ListenSource(mode: .netlink, push: .tracepoint),
            listeners: ports.compactMap(PortNumber.init).map { ListeningSocket(address: .anyV4, port: $0) })
    }

    func publish(_ ports: [UInt16]) {
        publish(listeners: Self.table(ports, revision: 0).listeners)
    }

    func publish(listeners: [ListeningSocket]) {
        let (table, observer) = state.withLock { state in
            state.table = ListenTable(
                revision: state.table.revision + 1, source: state.table.source, listeners: listeners)
            for reader in state.readers.values { reader(state.table) }
            return (state.table, state.observer)
        }
        observer(table)
    }

    /// Has `body` called with each table, by whoever publishes it.
    func onPublish(_ body: @escaping @Sendable (ListenTable) -> Void) {
        state.withLock { $0.observer = body }
    }

    /// How many streams are being read.
    var readers: Int { state.withLock { $0.readers.count } }

    var source: ListenSource { state.withLock { $0.table.source } }

    let pushReason: String? = nil

    func current(in range: PortRange) -> ListenTable {
        state.withLock { $0.table.restricted(to: range) }
    }

    func tables(in range: PortRange) -> AsyncStream<ListenTable> {
        AsyncStream(bufferingPolicy: .bufferingNewest(1)) { continuation in
            let id = state.withLock { state in
                state.next += 1
                state.readers[state.next] = { continuation.yield($0.restricted(to: range)) }
                continuation.yield(state.table.restricted(to: range))
                return state.next
            }
            continuation.onTermination = { [weak self] _ in
                self?.state.withLock { _ = $0.readers.removeValue(forKey: id) }
            }
        }
    }
}

/// Runs a service on a real unix socket while `body` runs.
func withServer<Result: Sendable>(
    _ tables: ScriptedTables, token: MachineToken? = nil,
    _ body: @escaping @Sendable (TestFolder) async throws -> Result
) async throws -> Result {
    let service = RumAgentService(
        tables: tables, hostname: "guest", instanceID: "one", bootID: "boot",
        switcher: builtPrograms + "/rum-agent")
    return try await withServer(service, token: token, body)
}

/// Runs any service on a real unix socket while `body` runs.
func withServer<Result: Sendable>(
    _ service: any RegistrableRPCService, token: MachineToken? = nil,
    _ body: @escaping @Sendable (TestFolder) async throws -> Result
) async throws -> Result {
    try await withServer(AgentServer(service: service, token: token), body)
}

/// Runs a server on a real unix socket while `body` runs.
func withServer<Result: Sendable>(
    _ server: AgentServer, _ body: @escaping @Sendable (TestFolder) async throws -> Result
) async throws -> Result {
    let directory = try TestFolder()
    let listener = try StreamSocket.listen(on: directory.rpcAddress).release()
    return try await withThrowingTaskGroup(of: Result?.self) { group in
        group.addTask {
            try await server.serve(on: OwnedDescriptor(owning: listener))
            return nil
        }
        group.addTask { try await body(directory) }
        defer { group.cancelAll() }
        while let result = try await group.next() {
            if let result { return result }
        }
        throw CancellationError()
    }
}

/// Connects to a service on a real unix socket while `body` runs.
func withAgent<Result: Sendable>(
    _ tables: ScriptedTables, token: MachineToken? = nil, showing shown: MachineToken? = nil,
    _ body: @escaping @Sendable (AgentConnection) async throws -> Result
) async throws -> Result {
    try await withServer(tables, token: token) { directory in
        try await withAgent(in: directory, showing: shown, body)
    }
}

/// Connects to the service of a folder while `body` runs.
func withAgent<Result: Sendable>(
    in directory: TestFolder, showing token: MachineToken? = nil,
    _ body: @escaping @Sendable (AgentConnection) async throws -> Result
) async throws -> Result {
    // Generous, since it is only spent when the test fails.
    try await AgentConnection.with(token: token, firstAnswerWithin: .seconds(20)) {
        try StreamSocket.connect(to: directory.rpcAddress)
    } _: {
        try await body($0)
    }
}

/// Follows an agent while `body` runs; records how tables come, their ports, and losses.
func following(
    _ follower: AgentFollower, _ words: Recorder<String>,
    _ body: @escaping @Sendable () async throws -> Void
) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask {
            try await follower.run { event in
                switch event {
                case .connected(_, _, let delivery): words.add(delivery.rawValue)
                case .table(let table, _):
                    words.add(table.ports.map(\.description).joined(separator: " "))
                case .alive: break
                case .lost: words.add("lost")
                }
            }
        }
        try await body()
        group.cancelAll()
    }
}

/// Collects values from other tasks.
final class Recorder<Value: Sendable>: Sendable {
    private let values = Mutex<[Value]>([])

    var all: [Value] { values.withLock { $0 } }
    func add(_ value: Value) { values.withLock { $0.append(value) } }
}

extension TestFolder {
    /// Where an agent of this folder answers gRPC.
    var rpcAddress: SocketAddress { .unix(path: "\(path)/2222.sock") }
}

extension RPCRouter {
    /// For an agent that a test makes up method by method.
    mutating func answerPing(_ answer: @escaping @Sendable () async throws -> Rum_V1_PingResponse) {
        registerHandler(
            forMethod: Rum_V1_RumAgent.Method.Ping.descriptor,
            deserializer: ProtobufDeserializer<Rum_V1_PingRequest>(),
            serializer: ProtobufSerializer<Rum_V1_PingResponse>()
        ) { _, _ in
            StreamingServerResponse(single: ServerResponse(message: try await answer()))
        }
    }
}
