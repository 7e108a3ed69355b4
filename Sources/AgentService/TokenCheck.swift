internal import AgentAPI
internal import AgentChannel
internal import GRPCCore

/// Refuses every call that does not carry the machine's token.
struct TokenCheck: ServerInterceptor {
    private let token: MachineToken

    init(token: MachineToken) {
        self.token = token
    }

    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws -> StreamingServerResponse<
                Output
            >
    ) async throws -> StreamingServerResponse<Output> {
        let shown = request.metadata[stringValues: AgentMetadata.tokenKey].first { _ in true }
        guard let shown, let other = MachineToken(text: shown), token.matches(other) else {
            throw RPCError(code: .unauthenticated, message: "the machine's token is missing or wrong")
        }
        return try await next(request, context)
    }
}
