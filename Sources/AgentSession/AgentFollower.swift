internal import AgentAPI
package import AgentChannel
internal import GRPCCore
package import Linux
package import Ports
internal import Synchronization

/// Keeps one connection to an agent for as long as its task lives: connects, follows its tables, notices when
/// it is gone, connects again. It is also what waits for an agent that is about to come up.
package struct AgentFollower: Sendable {
    private let dial: @Sendable () async throws -> OwnedDescriptor
    private let token: MachineToken?
    private let followed: FollowedPorts
    private let alwaysPoll: Bool
    private let feed: (@Sendable (PortRange) async throws -> OwnedDescriptor)?
    private let share: (@Sendable (AgentConnection) async -> Void)?
    private let checkRequests = CheckRequests()

    /// - Parameters:
    ///   - range: what to follow; nil keeps the connection and its heartbeat alone.
    ///   - describesProcesses: ask for the details of processes, which come with the stream alone.
    ///   - alwaysPoll: poll even where the stream is offered.
    ///   - feed: opens a connection over which the agent sends the tables of a range by themselves, which is faster than the
    ///     stream of gRPC. Asked of agents that offer it, within a time limit of its own; where it fails, and where processes
    ///     are to be described, the stream is taken.
    ///   - share: is called with each connection, beside all else, and cancelled at its end.
    ///   - dial: opens a socket to the agent's RPC port, within a time limit of its own.
    package init(
        token: MachineToken?, range: PortRange?, describesProcesses: Bool = false, alwaysPoll: Bool = false,
        feed: (@Sendable (PortRange) async throws -> OwnedDescriptor)? = nil,
        share: (@Sendable (AgentConnection) async -> Void)? = nil,
        dial: @escaping @Sendable () async throws -> OwnedDescriptor
    ) {
        self.feed = feed
        self.share = share
        self.dial = dial
        self.token = token
        followed = FollowedPorts(.init(range: range, describesProcesses: describesProcesses))
        self.alwaysPoll = alwaysPoll
    }

    /// Follows the agent until the task is cancelled.
    ///
    /// - Parameters:
    ///   - waiting: gets each failed attempt before the first `connected`. What it throws ends the run, so how long to
    ///     wait, and for what, is the caller's to decide.
    ///   - report: gets `connected`, `table` and `lost` in order; `alive` comes between them at any time.
    /// - Throws: what `waiting` throws.
    package func run(
        waiting: @Sendable (AgentWaiting) async throws -> Void = { _ in },
        _ report: @escaping @Sendable (AgentEvent) async -> Void
    ) async throws {
        let began = ContinuousClock.now
        var pause = AgentLimits.shortestPause
        var hasEverConnected = false
        var lastProblem: AgentProblem?
        while !Task.isCancelled {
            let started = ContinuousClock.now
            let connected = Connected()
            var problem = AgentProblem.connectionBroke
            do {
                try await follow(connected, report)
            } catch {
                problem = AgentProblem(error)
            }
            if Task.isCancelled { return }
            hasEverConnected = hasEverConnected || connected.since != nil
            if hasEverConnected {
                await report(.lost(problem))
            } else {
                try await waiting(
                    AgentWaiting(
                        problem: problem, isNews: problem != lastProblem, elapsed: began.duration(to: .now)))
                lastProblem = problem
            }
            // An attempt that waited for its answer in vain has paused enough already.
            var resting = started
            if let since = connected.since {
                resting = .now
                // One that breaks at once, again and again, is asked as seldom as one that is down.
                if since.duration(to: .now) > AgentLimits.heartbeat { pause = AgentLimits.shortestPause }
            }
            if problem == .tableTooLarge { (pause, resting) = (AgentLimits.pauseAfterLargeTable, .now) }
            // Many hosts whose agents went down together must not come back together.
            try? await Task.sleep(until: resting + pause * Double.random(in: 0.5...1))
            let longest =
                hasEverConnected ? AgentLimits.longestPause : AgentLimits.pauseBeforeFirstAnswer
            pause = min(pause * 2, longest)
        }
    }

    /// Asks the agent at once whether it is still there, where the next heartbeat would: for the caller who knows
    /// that something happened to the guest.
    package func check() { checkRequests.send() }

    /// Whether tables come; else the agent is only watched.
    package var followsPorts: Bool { followed.ports.range != nil }

    /// Follows other ports from now on, over the same connection.
    package func follow(_ range: PortRange?, describesProcesses: Bool) {
        followed.change(to: .init(range: range, describesProcesses: describesProcesses))
    }

    /// Returns when a table of what is followed by now has been reported, at the latest after `AgentLimits.answer`.
    package func untilReported() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: AgentLimits.answer) }
            group.addTask { [followed] in await followed.untilReported() }
            await group.next()
            group.cancelAll()
        }
    }

    /// One connection, from the dial to its end.
    private func follow(
        _ connected: Connected, _ report: @escaping @Sendable (AgentEvent) async -> Void
    ) async throws {
        try await AgentConnection.with(
            token: token, firstAnswerWithin: AgentLimits.firstAnswer, dial: dial
        ) { connection in
            let clock = ClockEstimate(connection.clock)
            let announce = { @Sendable (delivery: TableDelivery) in
                guard connected.set() else { return }
                let start = AgentStart(connection.info, by: clock.offset)
                await report(.connected(connection.info, start, delivery: delivery))
            }
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await heartbeat(connection, clock, report) }
                group.addTask {
                    try await followPorts(of: connection, announce) { table in
                        await report(.table(table, clock.offset))
                    }
                }
                if let share {
                    group.addTask {
                        await share(connection)
                        // Its end ends nothing: an agent may not want to be told.
                        await Task.untilCancelled()
                    }
                }
                // Whichever ends first ends the connection.
                defer { group.cancelAll() }
                try await group.next()
            }
        }
    }

    private func heartbeat(
        _ connection: AgentConnection, _ clock: ClockEstimate,
        _ report: @Sendable (AgentEvent) async -> Void
    ) async throws {
        while true {
            let (info, offset) = try await connection.ping(timeout: AgentLimits.answer)
            await report(.alive(info, clock.refine(with: offset)))
            try await checkRequests.wait(atMost: AgentLimits.heartbeat)
        }
    }

    /// Follows what is to be followed, whatever that is by then, until the connection ends.
    private func followPorts(
        of connection: AgentConnection, _ announce: @escaping @Sendable (TableDelivery) async -> Void,
        _ take: @escaping @Sendable (ListenTable) async -> Void
    ) async throws {
        var hasEnded = false
        while !hasEnded, !Task.isCancelled {
            let ports = followed.ports
            if ports.range == nil {
                await announce(.stream)
                followed.report(ports)
            }
            hasEnded = try await withThrowingTaskGroup(of: Bool.self) { group in
                group.addTask {
                    await followed.untilOther(than: ports)
                    return false
                }
                if let range = ports.range {
                    group.addTask {
                        try await follow(range, ports.describesProcesses, of: connection) { table, delivery in
                            await announce(delivery)
                            await take(table)
                            followed.report(ports)
                        }
                        return true
                    }
                }
                defer { group.cancelAll() }
                return try await group.next() ?? true
            }
        }
    }

    private func follow(
        _ range: PortRange, _ describesProcesses: Bool, of connection: AgentConnection,
        _ take: @escaping @Sendable (ListenTable, TableDelivery) async -> Void
    ) async throws {
        if !alwaysPoll {
            let offered = ForwardVersion(spokenWith: connection.info.forwardVersion) >= .tables
            if offered, !describesProcesses, let socket = try? await feed?(range) {
                return try await connection.tables(from: socket) { await take($0, .stream) }
            }
            do {
                return try await connection.watchListeningPorts(
                    range, describingProcesses: describesProcesses
                ) { await take($0, .stream) }
            } catch let error as RPCError where error.code == .unimplemented {
                // An older agent.
            }
        }
        while true {
            await take(try await connection.listeningPorts(range, timeout: AgentLimits.polledTable), .poll)
            try await Task.sleep(for: AgentLimits.poll)
        }
    }
}

/// Since when a connection has been followed.
private final class Connected: Sendable {
    private let time = Mutex<ContinuousClock.Instant?>(nil)

    /// nil while it has not been.
    var since: ContinuousClock.Instant? { time.withLock { $0 } }

    /// Sets it to now; returns whether this call did so.
    func set() -> Bool {
        time.withLock { time in
            defer { time = time ?? .now }
            return time == nil
        }
    }
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
