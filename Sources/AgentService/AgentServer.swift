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
    private let onlyHostOnVsock: Bool

    /// - Parameters:
    ///   - service: an `RumAgentService`, or what stands in for an agent of another version.
    ///   - token: what every call must carry; nil asks for none, and then commands are refused.
    ///   - onlyHostOnVsock: drop vsock peers other than the host (CID 2), which are other guests or local users.
    package init(service: any RegistrableRPCService, token: MachineToken?, onlyHostOnVsock: Bool = true) {
        self.service = service
        self.token = token
        self.onlyHostOnVsock = onlyHostOnVsock
    }

    /// Accepts and serves until the task is cancelled. Takes the descriptor over.
    ///
    /// - Throws: when the socket can't be served any more; connections that fail end alone.
    package func serve(on listener: consuming OwnedDescriptor) async throws {
        let factory = BoundListenerFactory(owning: listener, onlyHostOnVsock: onlyHostOnVsock)
        var config = HTTP2ServerTransport.Custom<BoundListenerFactory>.Config.defaults
        // Every message is one that somebody waits for; coalescing held the slowest percent back by 8 ms.
        config.connection.flushCoalescing = nil
        let guardian: any ServerInterceptor = token.map { TokenCheck(token: $0) } ?? ExecNeedsToken()
        let server = GRPCServer(
            transport: HTTP2ServerTransport.Custom(listenerFactory: factory, config: config),
            services: [service], interceptors: [guardian])
        try await server.serve()
    }
}
