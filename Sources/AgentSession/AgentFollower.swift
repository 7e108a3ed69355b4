internal import AgentAPI
package import AgentChannel
internal import GRPCCore
package import Linux
package import Ports
internal import Synchronization

/// Keeps one connection to an agent for as long as its task lives: connects, follows its tables, notices when
/// it is gone, connects again.
package struct AgentFollower: Sendable {
    private let dial: @Sendable () async throws -> OwnedDescriptor
    private let token: MachineToken?
    private let range: PortRange?
    private let alwaysPoll: Bool
    private let checkRequests = CheckRequests()

    /// Between two polls of an agent without the stream.
    private static let pollInterval = Duration.seconds(1)
    /// Between two heartbeats: an agent that is gone without a word is noticed within this and the time-out.
    private static let heartbeatInterval = Duration.seconds(5)
    private static let answerTimeout = Duration.seconds(2)
    /// For the first answer on a connection. Short, since what was sent to a guest that had no network yet is as good
    /// as lost, and the next attempt must not wait for it.
    private static let greetingTimeout = Duration.milliseconds(1500)
    private static let shortestPause = Duration.milliseconds(100)
    /// Between the starts of two attempts. A guest that boots is to be found within 2 s, while a machine that is
    /// down for long costs one short attempt a second.
    private static let longestPause = Duration.seconds(1)

    /// - Parameters:
    ///   - range: what to follow; nil keeps the connection and its heartbeat alone.
    ///   - alwaysPoll: poll even where the stream is offered.
    ///   - dial: opens a socket to the agent's RPC port, within a time limit of its own.
    package init(
        token: MachineToken?, range: PortRange?, alwaysPoll: Bool = false,
        dial: @escaping @Sendable () async throws -> OwnedDescriptor
    ) {
        self.dial = dial
        self.token = token
        self.range = range
        self.alwaysPoll = alwaysPoll
    }

    /// Follows the agent until the task is cancelled. `report` gets `connected`, `table` and `lost` in order; `alive`
    /// comes between them at any time.
    package func run(_ report: @escaping @Sendable (AgentEvent) async -> Void) async {
        var pause = Self.shortestPause
        while !Task.isCancelled {
            let started = ContinuousClock.now
            let answered = AnswerFlag()
            do {
                try await follow(answered, report)
            } catch {
                if Task.isCancelled { return }
                await report(.lost(reason: AgentFailure.text(of: error)))
            }
            var resting = started
            if answered.isSet { (pause, resting) = (Self.shortestPause, .now) }
            // Many hosts whose agents went down together must not come back together. An attempt that waited for its
            // answer in vain has paused enough.
            try? await Task.sleep(until: resting + pause * Double.random(in: 0.5...1))
            pause = min(pause * 2, Self.longestPause)
        }
    }

    /// Asks the agent at once whether it is still there, where the next heartbeat would: for the caller who knows
    /// that something happened to the guest.
    package func check() { checkRequests.send() }

    /// One connection, from the dial to its end.
    private func follow(
        _ answered: AnswerFlag, _ report: @escaping @Sendable (AgentEvent) async -> Void
    ) async throws {
        try await AgentConnection.with(try await dial(), token: token) { connection in
            let (info, offset) = try await connection.ping(timeout: Self.greetingTimeout)
            answered.set()
            let clock = ClockEstimate(offset)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await heartbeat(connection, clock, report) }
                if let range {
                    group.addTask { try await follow(range, of: connection, info, clock, report) }
                } else {
                    await report(.connected(info, delivery: .stream))
                }
                // Whichever ends first ends the connection.
                defer { group.cancelAll() }
                try await group.next()
            }
        }
        throw RPCError(code: .unavailable, message: "the agent closed the connection")
    }

    private func heartbeat(
        _ connection: AgentConnection, _ clock: ClockEstimate,
        _ report: @Sendable (AgentEvent) async -> Void
    ) async throws {
        while true {
            // The first ping paid for the connection's start, so its estimate of the clock is the worst.
            let (info, offset) = try await connection.ping(timeout: Self.answerTimeout)
            await report(.alive(info, clock.refine(with: offset)))
            try await checkRequests.wait(atMost: Self.heartbeatInterval)
        }
    }

    private func follow(
        _ range: PortRange, of connection: AgentConnection, _ info: AgentInfo, _ clock: ClockEstimate,
        _ report: @escaping @Sendable (AgentEvent) async -> Void
    ) async throws {
        if !alwaysPoll {
            do {
                let announced = AnswerFlag()
                return try await connection.watchListeningPorts(range) { table in
                    if announced.set() { await report(.connected(info, delivery: .stream)) }
                    await report(.table(table, clock.offset))
                }
            } catch let error as RPCError where error.code == .unimplemented {
                // An older agent.
            }
        }
        await report(.connected(info, delivery: .poll))
        while true {
            let table = try await connection.listeningPorts(range, timeout: Self.answerTimeout)
            await report(.table(table, clock.offset))
            try await Task.sleep(for: Self.pollInterval)
        }
    }
}

/// Set once.
private final class AnswerFlag: Sendable {
    private let flag = Atomic(false)

    var isSet: Bool { flag.load(ordering: .acquiring) }

    /// Returns whether this call set it.
    @discardableResult
    func set() -> Bool { !flag.exchange(true, ordering: .acquiringAndReleasing) }
}

/// The best estimate of the guest's clock so far, shared by the tasks of one connection.
private final class ClockEstimate: Sendable {
    private let best: Mutex<ClockOffset>

    init(_ first: ClockOffset) { best = Mutex(first) }

    var offset: ClockOffset { best.withLock { $0 } }

    func refine(with newer: ClockOffset) -> ClockOffset {
        best.withLock {
            $0.refine(with: newer)
            return $0
        }
    }
}
