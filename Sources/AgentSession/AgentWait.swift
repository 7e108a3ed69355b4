package import AgentAPI
package import AgentChannel
internal import GRPCCore
package import Linux

/// Waits for an agent that is about to come up.
package enum AgentWait {
    /// Between two attempts.
    private static let pause = Duration.milliseconds(200)
    private static let answerTimeout = Duration.seconds(5)

    /// Tries until the agent answers a ping, on connections of its own, and returns the answer.
    ///
    /// - Parameters:
    ///   - timeout: nil waits for as long as it takes.
    ///   - notYet: gets why there is no answer yet, each time the reason is another one.
    /// - Throws: `AgentWaitError` when it refuses the token, or has not answered by `timeout`;
    ///   `CancellationError`.
    package static func untilReady(
        token: MachineToken?, timeout: Duration?, dial: @Sendable () async throws -> OwnedDescriptor,
        notYet: @Sendable (_ failure: String, _ reason: any Error) -> Void = { _, _ in }
    ) async throws -> AgentInfo {
        let deadline = timeout.map { ContinuousClock.now + $0 }
        var lastFailure: String?
        while true {
            try Task.checkCancellation()
            let reason: any Error
            do {
                return try await AgentConnection.with(try await dial(), token: token) {
                    try await $0.ping(timeout: answerTimeout).0
                }
            } catch let error as RPCError where error.code == .unauthenticated {
                throw AgentWaitError.tokenRefused
            } catch {
                reason = error
            }
            let failure = AgentFailure.text(of: reason)
            if let deadline, ContinuousClock.now >= deadline { throw AgentWaitError.noAnswer(last: failure) }
            if failure != lastFailure, !Task.isCancelled { notYet(failure, reason) }
            lastFailure = failure
            try await Task.sleep(for: pause)
        }
    }
}

/// Why an agent could not be waited for.
package enum AgentWaitError: Error, Hashable, Sendable {
    case tokenRefused
    case noAnswer(last: String)
}
