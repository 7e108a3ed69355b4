import AgentChannel
import AgentService
import HostForward
import Linux
import PortForward
import Ports
import Relay
import Synchronization
import TestSupport
import Testing

/// A session with agents here in the test, which say only what listens.
@Suite("Sessions", .serialized, .timeLimit(.minutes(1)))
struct ForwardSessionTests {
    /// Tables that never change.
    private struct FixedTables: ListenTableProvider {
        let table: ListenTable
        let pushReason: String? = nil
        var source: ListenSource { table.source }

        func current(in range: PortRange) -> ListenTable { table }

        func tables(in range: PortRange) -> AsyncStream<ListenTable> {
            AsyncStream { $0.yield(table) }
        }
    }

    /// What was told, and when.
    private final class Told: Sendable {
        private let events = Mutex<[(name: ForwardEvent.Name, time: ContinuousClock.Instant)]>([])

        func append(_ event: ForwardEvent) { events.withLock { $0.append((event.name, .now)) } }

        var names: [ForwardEvent.Name] { events.withLock { $0.map(\.name) } }

        /// When ports were opened.
        var openings: [ContinuousClock.Instant] {
            events.withLock { events in events.filter { $0.name == .opened }.map(\.time) }
        }
    }

    private static func table(_ number: PortNumber, name: String = "node") -> ListenTable {
        let process = ListeningProcess(pid: 1, name: name)
        return ListenTable(
            revision: 1, source: ListenSource(mode: .netlink, push: .tracepoint),
            listeners: [ListeningSocket(address: .anyV4, port: number, process: process)])
    }

    /// Serves an agent that knows one table, until the task is cancelled.
    private static func serve(_ table: ListenTable, in folder: TestFolder, _ instance: String) async throws {
        let socket = try ServiceSocket.listen(on: .unix(path: "\(folder.path)/2222.sock"))
        let service = RumAgentService(
            tables: FixedTables(table: table), hostname: "guest", instanceID: instance, bootID: "boot")
        try await AgentServer(service: service, token: nil).serve(on: socket)
    }

    @Test("The first table of a connection waits until what the one before has sent is paid for")
    func debt() async throws {
        let (folder, told) = (try TestFolder(), Told())
        let ports = (try FreePort.next(), try FreePort.next())
        let range = try #require(PortRange(min(ports.0, ports.1), max(ports.0, ports.1)))
        let engine = try RelayEngine()
        let session = ForwardSession(
            agent: .unix(directory: folder.path), token: nil,
            policy: ForwardPolicy(autoPorts: AutoPorts(range: range)),
            engine: engine, emit: told.append)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await session.run() }
            // A name of 800 000 bytes costs as much as 100 000 rows at 20 µs each, of which 20 000 are free.
            let costly = Self.table(ports.0, name: String(repeating: "x", count: 800_000))
            try await withThrowingTaskGroup(of: Void.self) { first in
                first.addTask { try await Self.serve(costly, in: folder, "one") }
                try await eventually { told.names == [.opened] }
                first.cancelAll()
            }
            // While the session still waits for the price of the table.
            session.checkAgent()
            try await eventually { told.names == [.opened, .agentLost] }
            group.addTask { try await Self.serve(Self.table(ports.1), in: folder, "two") }
            try await eventually { told.openings.count == 2 }
            // 1.6 s; without the wait, some tenths.
            #expect(told.openings[0].duration(to: told.openings[1]) > .milliseconds(1500))
            group.cancelAll()
        }
        await engine.shutdown()
    }
}
