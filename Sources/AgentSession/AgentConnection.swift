package import AgentAPI
package import AgentChannel
package import GRPCCore
internal import GRPCNIOTransportHTTP2TransportServices
package import Linux
internal import NIOCore
internal import NIOPosix
package import Ports

/// One gRPC connection to an agent.
package struct AgentConnection: Sendable {
    private let agent: Rum_V1_RumAgent.Client<HTTP2ClientTransport.WrappedChannel>
    private let metadata: Metadata

    /// Speaks gRPC on a connected socket while `body` runs, and closes it afterwards. Takes the socket over.
    package static func with<Result: Sendable>(
        _ socket: consuming OwnedDescriptor, token: MachineToken?,
        _ body: @Sendable (AgentConnection) async throws -> Result
    ) async throws -> Result {
        var config = HTTP2ClientTransport.WrappedChannel.Config.defaults
        // As on the agent's side: every message is one that somebody waits for.
        config.connection.flushCoalescing = nil
        let number = socket.release()
        let transport = try await HTTP2ClientTransport.WrappedChannel.wrapping(config: config) { configure in
            try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .withConnectedSocket(number) { configure($0) }
        }
        var metadata = Metadata()
        if let token { metadata.addString(token.text, forKey: AgentMetadata.tokenKey) }
        let calls = metadata
        return try await withGRPCClient(transport: transport) { client in
            try await body(AgentConnection(agent: Rum_V1_RumAgent.Client(wrapping: client), metadata: calls))
        }
    }

    /// Asks who answers; with the answer comes an estimate of the guest's clock.
    ///
    /// - Throws: `RPCError`; `.deadlineExceeded` after `timeout`.
    package func ping(timeout: Duration) async throws -> (AgentInfo, ClockOffset) {
        var options = CallOptions.defaults
        options.timeout = timeout
        let asked = SystemClock.monotonic
        let answer = try await agent.ping(Rum_V1_PingRequest(), metadata: metadata, options: options)
        let info = AgentInfo(answer)
        let offset = ClockOffset(asked: asked, guest: info.monotonicTime, answered: SystemClock.monotonic)
        return (info, offset)
    }

    /// The listeners of a range, now.
    package func listeningPorts(_ range: PortRange, timeout: Duration) async throws -> ListenTable {
        var options = CallOptions.defaults
        options.timeout = timeout
        return ListenTable(
            try await agent.listeningPorts(range.message, metadata: metadata, options: options))
    }

    /// Hands each table of the stream to `body`; the current one comes at once.
    ///
    /// - Throws: `RPCError`; `.unimplemented` from an agent that only answers `listeningPorts`.
    package func watchListeningPorts(
        _ range: PortRange, _ body: @escaping @Sendable (ListenTable) async -> Void
    ) async throws {
        try await agent.watchListeningPorts(range.message, metadata: metadata) { response in
            for try await message in response.messages { await body(ListenTable(message)) }
        }
    }

    /// Runs a command in the guest: `input` feeds it, `output` gets what it says, and the exit comes back.
    package func exec(
        input: @escaping @Sendable (RPCWriter<Rum_V1_ExecInput>) async throws -> Void,
        output: @escaping @Sendable (Rum_V1_ExecOutput) async throws -> Void
    ) async throws -> Rum_V1_ExecExit {
        try await agent.exec(metadata: metadata, requestProducer: input) { response in
            for try await message in response.messages {
                if case .exited(let exit) = message.output { return exit }
                try await output(message)
            }
            throw RPCError(code: .unavailable, message: "the agent ended the call without an exit code")
        }
    }
}
