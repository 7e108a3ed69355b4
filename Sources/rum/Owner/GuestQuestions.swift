import AgentAPI
import AgentChannel
import AgentSession
import Linux
import Ports
import Synchronization

/// Asks the guest's agent what its tables do not tell: who listens outside the range of automatic forwards.
final class GuestQuestions: Sendable {
    /// People and scripts wait for the answers.
    static let timeout = Duration.seconds(2)
    /// The agent itself takes 2 s at the most to look into other network namespaces.
    static let explanation = Duration.seconds(4)
    /// How long an answer holds: `rum ports --watch` asks each second, and several may.
    private static let freshness = Duration.milliseconds(900)

    private let place: Mutex<AgentAddress>
    let token: MachineToken?
    var address: AgentAddress { place.withLock { $0 } }
    private let last = Mutex<Kept?>(nil)

    /// Who listened on some ports.
    private struct Kept {
        let time: ContinuousClock.Instant
        let ports: Set<PortNumber>
        let listeners: [PortNumber: ListeningSocket]
    }

    init(address: AgentAddress, token: MachineToken?) {
        place = Mutex(address)
        self.token = token
    }

    /// Asks at another address from now on.
    func reach(_ address: AgentAddress) { place.withLock { $0 = address } }

    /// Runs `body` with a connection to the agent; nil when it does not answer in time.
    func ask<Answer: Sendable>(
        _ body: @escaping @Sendable (AgentConnection) async throws -> Answer
    ) async -> Answer? {
        let dialer = AgentDialer(address: address, timeout: Self.timeout)
        return try? await AgentConnection.with(dialer, token: token, body)
    }

    /// As `ask`, and no longer than until then.
    func ask<Answer: Sendable>(
        until deadline: ContinuousClock.Instant,
        _ body: @escaping @Sendable (AgentConnection) async throws -> Answer
    ) async -> Answer? {
        await withTaskGroup(of: Answer?.self) { group in
            group.addTask { await self.ask(body) }
            group.addTask {
                try? await Task.sleep(until: deadline)
                return nil
            }
            defer { group.cancelAll() }
            return await group.next() ?? nil
        }
    }

    /// Who listens on each of a few ports; nil when the agent does not tell.
    func listeners(on ports: Set<PortNumber>) async -> [PortNumber: ListeningSocket]? {
        if ports.isEmpty { return [:] }
        let kept = last.withLock { $0 }
        if let kept, kept.time.duration(to: .now) < Self.freshness, kept.ports.isSuperset(of: ports) {
            return kept.listeners
        }
        let found = await ask(until: .now + Self.timeout) { agent in
            var listeners: [PortNumber: ListeningSocket] = [:]
            for port in ports {
                guard let range = PortRange(port, port) else { continue }
                let table = try await agent.listeningPorts(range, timeout: Self.timeout)
                listeners[port] = table.listeners.first { $0.process != nil } ?? table.listeners.first
            }
            return listeners
        }
        if let found { last.withLock { $0 = Kept(time: .now, ports: ports, listeners: found) } }
        return found
    }
}
