package import GRPCCore

/// Refuses `Exec` on an agent without a token: whoever can connect would be root in the guest.
package struct ExecNeedsToken: ServerInterceptor {
    package init() {}

    package func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws -> StreamingServerResponse<
                Output
            >
    ) async throws -> StreamingServerResponse<Output> {
        guard context.descriptor.method != "Exec" else {
            throw RPCError(
                code: .permissionDenied,
                message: "this agent has no token and runs no commands; start it with --token-file")
        }
        return try await next(request, context)
    }
}
