package import AgentAPI
package import GRPCCore
internal import Linux
internal import Ports

/// The service `rum.v1.RumAgent`, in the guest.
package struct RumAgentService: Rum_V1_RumAgent.SimpleServiceProtocol {
    private let tables: any ListenTableProvider
    private let hostname: String
    private let instanceID: String
    private let bootID: String
    private let startedAt: UInt64
    private let forwardVersion: UInt32
    private let switcher: String
    private let shared: SharedForwards?
    private let explainer = PortExplainer()
    private let processes = ProcessReader()

    /// - Parameters:
    ///   - instanceID: new at every start of the agent.
    ///   - bootID: the kernel's, new at every boot.
    ///   - startedAt: CLOCK_MONOTONIC at the agent's start, in nanoseconds.
    ///   - forwardVersion: the newest version of the forward port's protocol that this agent speaks.
    ///   - shared: where hosts tell of their forwards; nil for nowhere.
    ///   - switcher: the path of a program that begins with `UserSwitch.runIfAsked()`, as the agent does.
    package init(
        tables: any ListenTableProvider, hostname: String, instanceID: String, bootID: String,
        startedAt: UInt64 = SystemClock.monotonic, forwardVersion: UInt32 = 1,
        shared: SharedForwards? = nil, switcher: String = "/proc/self/exe"
    ) {
        self.tables = tables
        self.hostname = hostname
        self.instanceID = instanceID
        self.bootID = bootID
        self.startedAt = startedAt
        self.forwardVersion = forwardVersion
        self.shared = shared
        self.switcher = switcher
    }

    package func ping(
        request: Rum_V1_PingRequest, context: ServerContext
    ) async throws -> Rum_V1_PingResponse {
        AgentInfo(
            version: rumVersion, hostname: hostname, instanceID: instanceID, bootID: bootID,
            source: tables.source, pushReason: tables.pushReason, monotonicTime: SystemClock.monotonic,
            startedAt: startedAt,
            forwardVersion: forwardVersion, execVersion: GuestCommand.version
        ).message
    }

    package func listeningPorts(
        request: Rum_V1_ListeningPortsRequest, context: ServerContext
    ) async throws -> Rum_V1_ListeningPortsResponse {
        tables.current(in: try range(of: request)).message
    }

    package func watchListeningPorts(
        request: Rum_V1_ListeningPortsRequest,
        response: RPCWriter<Rum_V1_ListeningPortsResponse>,
        context: ServerContext
    ) async throws {
        let range = try range(of: request)
        let details = request.describeProcesses ? DescribedTables(reader: processes) : nil
        try await untilCancelled(context) {
            try await Self.send(tables, in: range, describedBy: details, to: response)
        }
    }

    package func exec(
        request: RPCAsyncSequence<Rum_V1_ExecInput, any Error>,
        response: RPCWriter<Rum_V1_ExecOutput>,
        context: ServerContext
    ) async throws {
        // Off the event loop's thread, which the other calls run on: it starts processes and moves data in bulk.
        try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await untilCancelled(context) {
                try await GuestCommand.run(input: request, output: response, switcher: switcher)
            }
        }
    }

    package func explainPort(
        request: Rum_V1_ExplainPortRequest, context: ServerContext
    ) async throws -> Rum_V1_ExplainPortResponse {
        guard let port = PortNumber(exactly: Int(request.port)) else {
            throw RPCError(
                code: .invalidArgument, message: "port must be 1 to 65535, got \(request.port)")
        }
        return await explainer.explanation(of: port).message
    }

    package func shareForwards(
        request: RPCAsyncSequence<Rum_V1_HostForwards, any Error>, context: ServerContext
    ) async throws -> Rum_V1_ShareForwardsResponse {
        guard let shared else {
            throw RPCError(code: .unimplemented, message: "this agent keeps no file of forwards")
        }
        let host = shared.join()
        var failure: (any Error)?
        do {
            try await untilCancelled(context) {
                for try await message in request {
                    guard let list = message.list else {
                        throw RPCError(
                            code: .invalidArgument,
                            message: "expected ports and addresses, \(AgentLimits.mostForwards) at most")
                    }
                    await shared.set(list, of: host)
                }
            }
        } catch {
            failure = error
        }
        await shared.set(nil, of: host)
        if let failure { throw failure }
        return Rum_V1_ShareForwardsResponse()
    }

    private static func send(
        _ tables: some ListenTableProvider, in range: PortRange, describedBy details: DescribedTables?,
        to response: RPCWriter<Rum_V1_ListeningPortsResponse>
    ) async throws {
        if let details {
            return try await details.send(tables.tables(in: range)) { try await response.write($0.message) }
        }
        for await table in tables.tables(in: range) { try await response.write(table.message) }
    }

    private func range(of request: Rum_V1_ListeningPortsRequest) throws(RPCError) -> PortRange {
        guard let range = PortRange(request) else {
            throw RPCError(
                code: .invalidArgument,
                message:
                    "min and max must be 1 to 65535 with min <= max, got \(request.min) and \(request.max)")
        }
        return range
    }

    /// Runs `body`, and cancels it when the client goes away: gRPC does not cancel a handler's task.
    private func untilCancelled(
        _ context: ServerContext, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await body() }
            group.addTask { try await context.cancellation.cancelled }
            defer { group.cancelAll() }
            try await group.next()
        }
    }
}
