internal import AgentAPI
package import AgentChannel
package import GRPCCore
internal import GRPCNIOTransportHTTP2TransportServices
package import Linux
internal import NIOCore
internal import NIOPosix

/// Serves the agent's gRPC interface on sockets that already listen.
package struct AgentServer: Sendable {
    private let service: any RegistrableRPCService
    private let token: MachineToken?
    private let peers: PeerLookup
    private let gate: ConnectionGate

    /// - Parameters:
    ///   - service: an `RumAgentService`, or what stands in for an agent of another version.
    ///   - token: what every call must carry. Without one every call is served but `Exec`.
    ///   - peers: finds out who a vsock peer is; connections of all but the host are closed.
    package init(service: any RegistrableRPCService, token: MachineToken?, peers: PeerLookup = .kernel) {
        self.service = service
        self.token = token
        self.peers = peers
        gate = ConnectionGate(token: token)
    }

    /// Accepts and serves until the task is cancelled, then closes every connection. Takes the descriptor over.
    ///
    /// - Throws: when the socket can't be served any more; connections that fail end alone.
    package func serve(on listener: consuming OwnedDescriptor) async throws {
        let factory = BoundListenerFactory(owning: listener, gate: gate, peers: peers)
        var config = HTTP2ServerTransport.Custom<BoundListenerFactory>.Config.defaults
        // Every message is one that somebody waits for; coalescing held the slowest percent back by 8 ms.
        config.connection.flushCoalescing = nil
        config.http2.maxConcurrentStreams = AgentLimits.callsPerConnection
        config.channelDebuggingCallbacks.onAcceptHTTP2Stream = { [gate] call in
            call.eventLoop.makeCompletedFuture {
                guard let connection = call.parent else { return }
                try call.pipeline.syncOperations.addHandler(
                    CallHandler(gate, connection: connection), position: .first)
            }
        }
        let check: any ServerInterceptor = token.map { TokenCheck(token: $0) } ?? ExecRefusal()
        let server = GRPCServer(
            transport: HTTP2ServerTransport.Custom(listenerFactory: factory, config: config),
            services: [service], interceptors: [check])
        // In a task of its own, which is never cancelled: gRPC crashes when that happens while a connection is being
        // handed to it (NIOAsyncWriter). It ends by itself when the listener and all connections are closed.
        let serving = Task(executorPreference: LoopExecutor(factory.loop)) { try await server.serve() }
        defer { gate.close() }
        try await withTaskCancellationHandler {
            try await serving.value
        } onCancel: {
            gate.close()
        }
    }

    /// How many connections are open, and how many of them have not proven themselves yet.
    package var connections: (all: Int, unproven: Int) { gate.counts }
}
