import AgentAPI
import AgentChannel
import AgentService
import AgentSession
import Glibc
import GuestForward
import Linux
import Ports
import Relay
import TestSupport
import Testing

/// A follower and an agent that offers its tables over a connection of their own.
@Suite("Tables without gRPC", .timeLimit(.minutes(1)))
struct FeedDeliveryTests {
    /// How an agent that offers a feed keeps its word.
    enum Offer: CaseIterable { case kept, full, refused, notThere }

    @Test("The feed is preferred; where it can't be had, tables come over gRPC", arguments: Offer.allCases)
    func preferred(_ offer: Offer) async throws {
        let tables = ScriptedTables([22, 5001])
        let token = MachineToken.random()
        let words = Recorder<String>()
        let range = try #require(PortRange(port(5000), port(5999)))
        try await Self.withAgent(tables, token: token, offer) { directory, feeds in
            try await following(Self.follower(directory, token: token, range), words) {
                try await eventually { words.all.last == "5001" }
                #expect(feeds.count == (offer == .kept ? 1 : 0))
                #expect(tables.readers == (offer == .kept ? 0 : 1))
                tables.publish([22, 5001, 5002])
                try await eventually { words.all.last == "5001 5002" }
            }
            try await eventually("the feed is gone") { feeds.count == 0 && tables.readers == 0 }
        }
        #expect(words.all == ["stream", "5001", "5001 5002"])
    }

    @Test("What is followed changes over the same connection", arguments: Offer.allCases)
    func changed(_ offer: Offer) async throws {
        let tables = ScriptedTables([22, 5001])
        let words = Recorder<String>()
        let (narrow, wide) = (try #require(PortRange(text: "5000-5999")), PortRange.all)
        try await Self.withAgent(tables, token: .none, offer) { directory, feeds in
            let follower = Self.follower(directory, token: nil, narrow)
            try await following(follower, words) {
                try await eventually { words.all.last == "5001" }
                await Self.change(follower, to: wide)
                #expect(words.all.last == "22 5001")
                await Self.change(follower, to: narrow)
                #expect(words.all.last == "5001")
                // The same again is no change.
                await Self.change(follower, to: narrow)
                await Self.change(follower, to: nil)
                #expect(!follower.followsPorts)
                try await eventually("nothing is followed") { feeds.count == 0 && tables.readers == 0 }
                tables.publish([22, 5001, 5002])
                await Self.change(follower, to: wide, describesProcesses: true)
                #expect(tables.readers == 1 && feeds.count == 0)
            }
        }
        #expect(words.all == ["stream", "5001", "22 5001", "5001", "22 5001 5002"])
    }

    /// Why there is no feed.
    enum Without: CaseIterable {
        case version1, version2, isPolled, describesProcesses

        var version: UInt32 {
            switch self {
            case .version1: 1
            case .version2: 2
            case .isPolled, .describesProcesses: 3
            }
        }
    }

    @Test(
        "An agent that does not offer a feed is not asked for one, nor one that is polled or describes processes",
        arguments: Without.allCases)
    func notAsked(_ why: Without) async throws {
        let tables = ScriptedTables([5001])
        let service = RumAgentService(
            tables: tables, hostname: "guest", instanceID: "one", bootID: "boot", forwardVersion: why.version)
        let asked = Recorder<Int>()
        let words = Recorder<String>()
        try await withServer(service) { directory in
            let follower = AgentFollower(
                token: nil, range: .all, describesProcesses: why == .describesProcesses,
                alwaysPoll: why == .isPolled,
                feed: { _ in
                    asked.add(1)
                    throw SystemError(code: ECONNREFUSED, operation: "connect")
                }, dial: { try StreamSocket.connect(to: directory.rpcAddress) })
            try await following(follower, words) { try await eventually { words.all.last == "5001" } }
        }
        #expect(asked.all.isEmpty)
    }

    @Test("The end of the feed is the loss of the agent, which is then followed again")
    func lost() async throws {
        let tables = ScriptedTables([5001])
        let words = Recorder<String>()
        try await Self.withAgent(tables, token: .none, .kept) { directory, feeds in
            try await following(Self.follower(directory, token: nil, .all), words) {
                try await eventually { words.all.last == "5001" }
                feeds.close()
                try await eventually { words.all.count >= 5 && words.all.last == "5001" }
            }
        }
        #expect(words.all == ["stream", "5001", "lost", "stream", "5001"])
    }

    /// Where its method runs.
    private actor Place {
        func name() -> String { (try? SmallFile.text(of: "/proc/thread-self/comm")) ?? "" }
    }

    @Test("All that a table leads to is done on the thread that has read it, what an actor does as well")
    func thread() async throws {
        let tables = ScriptedTables([5001])
        let (place, names) = (Place(), Recorder<String>())
        try await Self.withAgent(tables, token: .none, .kept) { directory, _ in
            let follower = Self.follower(directory, token: nil, .all)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follower.run {
                        guard case .table = $0 else { return }
                        names.add(await place.name())
                    }
                }
                try await eventually { names.all.count == 1 }
                tables.publish([5001, 5002])
                try await eventually { names.all.count == 2 }
                group.cancelAll()
            }
        }
        #expect(names.all == ["feeds\n", "feeds\n"])
    }

    @Test("Every port with seven addresses arrives")
    func largest() async throws {
        let tables = ScriptedTables()
        let listeners = LargeTableTests.everyPort(addresses: 7)
        tables.publish(listeners: listeners)
        let counts = Recorder<Int>()
        try await Self.withAgent(tables, token: .none, .kept) { directory, _ in
            let follower = Self.follower(directory, token: nil, .all)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    try await follower.run {
                        if case .table(let table, _) = $0 { counts.add(table.listeners.count) }
                    }
                }
                try await eventually(within: .seconds(50)) { !counts.all.isEmpty }
                group.cancelAll()
            }
        }
        #expect(counts.all.first == listeners.count)
    }

    /// What a feed that means harm, or is broken, says behind its status.
    enum Fault: CaseIterable {
        case tooLong, tooManyRows, garbage, cut, nothing

        var bytes: [UInt8] {
            switch self {
            case .tooLong: [0xff, 0xff, 0xff, 0xff, 0]
            case .tooManyRows: [0, 15, 66, 64] + (0..<500_000).flatMap { _ in [0x12, 0] as [UInt8] }
            case .garbage: [0, 0, 0, 3, 0xff, 0xff, 0xff]
            case .cut: [0, 0, 0, 9, 1, 2]
            case .nothing: []
            }
        }

        var problem: AgentProblem {
            switch self {
            case .tooLong, .tooManyRows: .tableTooLarge
            case .garbage: .other("it sent a table that can't be read")
            case .cut, .nothing: .connectionBroke
            }
        }
    }

    @Test(
        "A feed that makes no sense, or stops in the middle, is a problem like that of a stream",
        arguments: Fault.allCases)
    func faults(_ fault: Fault) async throws {
        let problems = Recorder<AgentProblem>()
        // Not while the connection's event loop waits for them.
        let bytes = fault.bytes
        let service = RumAgentService(
            tables: ScriptedTables([5001]), hostname: "guest", instanceID: "one", bootID: "boot",
            forwardVersion: 3)
        try await withServer(service) { directory in
            let follower = AgentFollower(
                token: nil, range: .all,
                feed: { _ in
                    var ends: [Int32] = [-1, -1]
                    _ = try SystemError.check(
                        "socketpair", socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends))
                    // More than the socket holds is read by the follower while this goes on.
                    try DedicatedThread.start(name: "far") { [far = ends[1]] in
                        let far = OwnedDescriptor(owning: far)
                        _ = send(far.rawValue, bytes, bytes.count, Int32(MSG_NOSIGNAL))
                    }
                    return OwnedDescriptor(owning: ends[0])
                }, dial: { try StreamSocket.connect(to: directory.rpcAddress) })
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await follower.run(waiting: { problems.add($0.problem) }, { _ in }) }
                // On a busy machine an attempt may have been too slow before.
                try await eventually("\(fault.problem), so far \(problems.all)") {
                    problems.all.contains(fault.problem)
                }
                group.cancelAll()
            }
        }
    }

    /// Runs an agent with both ports while `body` runs.
    private static func withAgent(
        _ tables: ScriptedTables, token: MachineToken, _ offer: Offer,
        _ body: @escaping @Sendable (TestFolder, TableFeeds) async throws -> Void
    ) async throws {
        let feeds = try TableFeeds(limit: offer == .full ? 0 : AgentLimits.feeds) { tables.current(in: $0) }
        tables.onPublish { feeds.publish($0) }
        let engine = try RelayEngine()
        let forwarder = GuestForwarder(
            engine: engine, token: token, targets: DialTargets { _ in [] },
            tables: offer == .refused ? nil : feeds)
        let service = RumAgentService(
            tables: tables, hostname: "guest", instanceID: "one", bootID: "boot",
            forwardVersion: UInt32(ForwardVersion.newest.rawValue))
        defer {
            forwarder.close()
            feeds.close()
        }
        try await withServer(service, token: token == .none ? nil : token) { directory in
            if offer != .notThere { try forwarder.listen(on: .unix(path: "\(directory.path)/2223.sock")) }
            try await body(directory, feeds)
        }
        await engine.shutdown()
    }

    private static func change(
        _ follower: AgentFollower, to range: PortRange?, describesProcesses: Bool = false
    ) async {
        follower.follow(range, describesProcesses: describesProcesses)
        await follower.untilReported()
    }

    private static func follower(_ directory: TestFolder, token: MachineToken?, _ range: PortRange)
        -> AgentFollower
    {
        let dialer = AgentDialer(address: .unix(directory: directory.path))
        return AgentFollower(
            token: token, range: range,
            feed: { try await dialer.dial(TablePreamble(token: token ?? .none, range: $0)) },
            dial: { try await dialer.dial(.rpc) })
    }
}
