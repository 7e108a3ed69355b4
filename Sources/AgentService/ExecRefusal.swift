internal import AgentAPI
internal import GRPCCore

/// Refuses `Exec` on an agent without a token: whoever can reach its port would be root in the guest.
struct ExecRefusal: ServerInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws -> StreamingServerResponse<
                Output
            >
    ) async throws -> StreamingServerResponse<Output> {
        if context.descriptor == Rum_V1_RumAgent.Method.Exec.descriptor {
            throw RPCError(
                code: .failedPrecondition,
                message: "this agent has no token, so it runs no commands; start it with --token-file")
        }
        return try await next(request, context)
    }
}
