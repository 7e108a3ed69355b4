package import AgentAPI

/// When the agent's present instance started, and the guest's present boot, by the host's CLOCK_MONOTONIC.
///
/// A connection through the agent that is older than `agent` went through an earlier instance, and is dead.
package struct AgentStart: Hashable, Sendable {
    /// In nanoseconds; nil from an agent that does not tell. 0 for a time before the host's clock began.
    package let agent: UInt64?
    package let boot: UInt64
    /// Both times are right within this many nanoseconds, plus what the two clocks have drifted apart since.
    package let uncertainty: UInt64

    package init(_ info: AgentInfo, by clock: ClockOffset) {
        agent = info.startedAt.map(clock.hostTime(ofGuest:))
        // CLOCK_MONOTONIC begins at boot (clock_gettime(2)).
        boot = clock.hostTime(ofGuest: 0)
        uncertainty = clock.uncertainty
    }
}
