package import AgentAPI
package import AgentChannel
package import GRPCCore
internal import GRPCNIOTransportHTTP2TransportServices
internal import GRPCProtobuf
package import Linux
internal import NIOCore
internal import NIOPosix
package import Ports

/// A gRPC connection to an agent that has answered.
package struct AgentConnection: Sendable {
    private let agent: Rum_V1_RumAgent.Client<HTTP2ClientTransport.WrappedChannel>
    private let metadata: Metadata
    /// Who answered.
    package private(set) var info: AgentInfo
    /// The first estimate of the guest's clock. Its round trip also paid for the connection's start, so later ones are
    /// better.
    package private(set) var clock: ClockOffset

    /// Sent as `:authority`, without which servers made with gRPC's C core end every call. It has no meaning beyond
    /// that: an agent has no host name.
    private static let authority = "rum-agent"

    /// Dials, asks who answers, and keeps the connection while `body` runs, on the connection's own thread: it must not
    /// block, nor work for long.
    ///
    /// - Parameters:
    ///   - timeout: for the first answer, after the dial.
    ///   - dial: opens a socket to the agent's RPC port, within a time limit of its own.
    /// - Throws: what `dial` or `body` throws, and `RPCError`; `AgentProblem` reads them all.
    package static func with<Result: Sendable>(
        token: MachineToken?, firstAnswerWithin timeout: Duration = AgentLimits.onlyAnswer,
        dial: @Sendable () async throws -> OwnedDescriptor,
        _ body: @Sendable (AgentConnection) async throws -> Result
    ) async throws -> Result {
        var config = HTTP2ClientTransport.WrappedChannel.Config.defaults
        config.http2.authority = authority
        // As on the agent's side: every message is one that somebody waits for.
        config.connection.flushCoalescing = nil
        // What an agent may send ahead of its reader: as small messages, the default of 8 MiB is hundreds in memory.
        config.http2.targetWindowSize = 128 << 10
        config.channelDebuggingCallbacks.onCreateHTTP2Stream = { call in
            call.eventLoop.makeCompletedFuture {
                try call.pipeline.syncOperations.addHandler(AnswerHandler(), position: .first)
            }
        }
        let number = try await dial().release()
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let transport = try await HTTP2ClientTransport.WrappedChannel.wrapping(config: config) { configure in
            try await ClientBootstrap(group: loop)
                .withConnectedSocket(number) {
                    findLoss(of: $0, number)
                    return configure($0)
                }
        }
        var metadata = Metadata()
        if let token { metadata.addString(token.text, forKey: AgentMetadata.tokenKey) }
        let calls = metadata
        return try await withTaskExecutorPreference(LoopExecutor(loop)) {
            try await withGRPCClient(transport: transport) { client in
                let agent = Rum_V1_RumAgent.Client(wrapping: client)
                let (info, clock) = try await ping(agent, calls, timeout)
                return try await body(
                    AgentConnection(agent: agent, metadata: calls, info: info, clock: clock))
            }
        }
    }

    /// The same with the agent that `dialer` reaches.
    package static func with<Result: Sendable>(
        _ dialer: AgentDialer, token: MachineToken?,
        _ body: @Sendable (AgentConnection) async throws -> Result
    ) async throws -> Result {
        try await with(token: token, dial: { try await dialer.dial(.rpc) }, body)
    }

    /// Has a call that only listens, as to a command in the guest, hear of a connection that the guest has lost.
    private static func findLoss(of channel: any Channel, _ number: Int32) {
        guard case .vsock? = try? StreamSocket.peerAddress(number) else { return }
        let interval = TimeAmount(VsockBuffers.checkInterval)
        channel.eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { task in
            // The number is its socket's for as long as it is active.
            if channel.isActive { VsockBuffers.tellPeer(number) } else { task.cancel() }
        }
    }

    /// Asks who answers; with the answer comes an estimate of the guest's clock.
    ///
    /// - Throws: `RPCError`; `.deadlineExceeded` after `timeout`.
    package func ping(timeout: Duration) async throws -> (AgentInfo, ClockOffset) {
        try await Self.ping(agent, metadata, timeout)
    }

    private static func ping(
        _ agent: Rum_V1_RumAgent.Client<HTTP2ClientTransport.WrappedChannel>, _ metadata: Metadata,
        _ timeout: Duration
    ) async throws -> (AgentInfo, ClockOffset) {
        var options = CallOptions.defaults
        options.timeout = timeout
        let asked = SystemClock.monotonic
        let answer = try await agent.ping(Rum_V1_PingRequest(), metadata: metadata, options: options)
        let info = AgentInfo(answer)
        let offset = ClockOffset(asked: asked, guest: info.monotonicTime, answered: SystemClock.monotonic)
        return (info, offset)
    }

    /// The listeners of a range, now.
    ///
    /// - Throws: `AgentProblem.tableTooLarge`, `RPCError`.
    package func listeningPorts(_ range: PortRange, timeout: Duration) async throws -> ListenTable {
        try await Self.readingTables {
            var options = Self.largeMessages
            options.timeout = timeout
            return try await agent.listeningPorts(
                request: ClientRequest(message: range.request(), metadata: metadata),
                serializer: ProtobufSerializer(), deserializer: TableDeserializer(), options: options
            ) { ListenTable(try $0.message) }
        }
    }

    /// Hands each table of the stream to `body`; the current one comes at once.
    ///
    /// - Parameter describingProcesses: ask for their details; an older agent tells none.
    /// - Throws: `AgentProblem.tableTooLarge`, and `RPCError`; `.unimplemented` from an agent that only answers
    ///   `listeningPorts`.
    package func watchListeningPorts(
        _ range: PortRange, describingProcesses: Bool = false,
        _ body: @escaping @Sendable (ListenTable) async -> Void
    ) async throws {
        try await Self.readingTables {
            try await agent.watchListeningPorts(
                request: ClientRequest(
                    message: range.request(describingProcesses: describingProcesses), metadata: metadata),
                serializer: ProtobufSerializer(), deserializer: TableDeserializer(),
                options: Self.largeMessages
            ) { response in
                for try await message in response.messages { await body(ListenTable(message)) }
            }
        }
    }

    /// Hands each table that comes over a connection of their own to `body`.
    ///
    /// - Throws: `AgentProblem`.
    package func tables(
        from feed: consuming OwnedDescriptor, _ body: @escaping @Sendable (ListenTable) async -> Void
    ) async throws {
        try await TableFeedReader.read(feed, body)
    }

    /// What the guest knows about a port, in every network namespace that it can see; nil from an older agent, which
    /// can't tell.
    ///
    /// - Throws: `RPCError`.
    package func explainPort(
        _ port: PortNumber, timeout: Duration = AgentLimits.onlyAnswer
    ) async throws -> PortExplanation? {
        var options = CallOptions.defaults
        options.timeout = timeout
        do {
            var request = Rum_V1_ExplainPortRequest()
            request.port = UInt32(port.rawValue)
            return PortExplanation(
                try await agent.explainPort(request, metadata: metadata, options: options))
        } catch let error as RPCError where error.code == .unimplemented {
            return nil
        }
    }

    /// Tells the guest's programs where the host forwards which port, until `lists` ends: it hands each whole list to what it is
    /// given.
    ///
    /// - Throws: `RPCError`; `.unimplemented` from an agent that keeps no file for it.
    package func shareForwards(
        _ lists:
            @escaping @Sendable (_ send: @Sendable ([ForwardedPort]) async throws -> Void) async throws ->
            Void
    ) async throws {
        _ = try await agent.shareForwards(
            metadata: metadata,
            requestProducer: { writer in
                try await lists { try await writer.write(Rum_V1_HostForwards($0)) }
            })
    }

    /// Runs a command in the guest: `input` feeds it, `output` gets what it says, and the exit comes back.
    package func exec(
        input: @escaping @Sendable (RPCWriter<Rum_V1_ExecInput>) async throws -> Void,
        output: @escaping @Sendable (Rum_V1_ExecOutput) async throws -> Void
    ) async throws -> Rum_V1_ExecExit {
        // Data in bulk is better moved by two threads than by one.
        try await withTaskExecutorPreference(globalConcurrentExecutor) {
            try await agent.exec(metadata: metadata, requestProducer: input) { response in
                for try await message in response.messages {
                    if case .exited(let exit) = message.output { return exit }
                    try await output(message)
                }
                throw RPCError(
                    code: .unavailable, message: "the agent ended the call without an exit code")
            }
        }
    }

    /// Both limits are the same number, since the transport bounds what it receives by the limit for requests.
    private static var largeMessages: CallOptions {
        var options = CallOptions.defaults
        options.maxRequestMessageBytes = AgentLimits.largestMessage
        options.maxResponseMessageBytes = AgentLimits.largestMessage
        return options
    }

    private static func readingTables<Result>(
        _ body: () async throws -> Result
    ) async throws -> Result {
        do {
            return try await body()
        } catch let error as RPCError where error.isAboutSize {
            throw AgentProblem.tableTooLarge
        }
    }
}

extension RPCError {
    /// Whether a message was larger than its receiver takes. gRPC Swift has no code of its own for it at this end
    /// (GRPCMessageDecoder).
    fileprivate var isAboutSize: Bool {
        code == .resourceExhausted || message.contains("exceeded the configured maximum payload size")
    }
}
