internal import Linux
package import Ports

/// Who an agent is and how well it sees: the answer to `Ping`.
package struct AgentInfo: Hashable, Sendable {
    package var version: String
    package var hostname: String
    /// New at every agent start.
    package var instanceID: String
    /// The kernel's boot id, new at every boot of the guest.
    package var bootID: String
    package var source: ListenSource
    /// Why the push level is not the best there is although nothing is wrong.
    package var pushReason: String?
    /// The guest's CLOCK_MONOTONIC when it answered, in nanoseconds.
    package var monotonicTime: UInt64
    /// The guest's CLOCK_MONOTONIC when this agent started, in nanoseconds; nil from an agent that does not tell.
    package var startedAt: UInt64?
    /// The newest version of the forward port's protocol that the agent speaks.
    package var forwardVersion: UInt32
    /// What the agent's `Exec` can do: 0 runs commands as the agent's own user, with pipes; 1 knows users and terminals.
    package var execVersion: UInt32

    package init(
        version: String, hostname: String, instanceID: String, bootID: String, source: ListenSource,
        pushReason: String? = nil, monotonicTime: UInt64, startedAt: UInt64?, forwardVersion: UInt32,
        execVersion: UInt32 = 0
    ) {
        self.version = version
        self.hostname = hostname
        self.instanceID = instanceID
        self.bootID = bootID
        self.source = source
        self.pushReason = pushReason
        self.monotonicTime = monotonicTime
        self.startedAt = startedAt
        self.forwardVersion = forwardVersion
        self.execVersion = execVersion
    }

    package init(_ message: Rum_V1_PingResponse) {
        self.init(
            version: message.version.cut(to: AgentLimits.longestText),
            hostname: message.hostname.cut(to: AgentLimits.longestText), instanceID: message.instanceID,
            bootID: message.bootID,
            source: ListenSource(mode: message.mode, push: message.push, degraded: message.degraded),
            pushReason: message.pushReason.isEmpty
                ? nil : message.pushReason.cut(to: AgentLimits.longestText),
            monotonicTime: message.monotonicNs,
            startedAt: message.agentStartedNs == 0 ? nil : message.agentStartedNs,
            forwardVersion: max(1, message.forwardVersion), execVersion: message.execVersion)
    }

    package var message: Rum_V1_PingResponse {
        var message = Rum_V1_PingResponse()
        message.version = version
        message.hostname = hostname
        message.instanceID = instanceID
        message.bootID = bootID
        message.mode = source.mode.rawValue
        message.push = source.push.rawValue
        message.degraded = source.degraded ?? ""
        message.pushReason = pushReason ?? ""
        message.monotonicNs = monotonicTime
        message.agentStartedNs = startedAt ?? 0
        message.forwardVersion = forwardVersion
        message.execVersion = execVersion
        return message
    }
}

extension ListenSource {
    /// Reads the words of a message. A word that only a newer agent knows becomes the least capable one.
    package init(mode: String, push: String, degraded: String) {
        self.init(
            mode: ListenMode(rawValue: mode) ?? .procfs, push: PushLevel(rawValue: push) ?? .poll,
            degraded: degraded.isEmpty ? nil : degraded.cut(to: AgentLimits.longestText))
    }
}
