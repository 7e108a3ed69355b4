import AgentSession
import HostForward
import PortForward
import Ports

extension AutoPorts {
    /// What to say where the agent has no stream of tables, with which alone processes are described; nil where that makes no
    /// difference.
    static func blindRules(_ session: ForwardSession) async -> String? {
        guard case .connected(_, .poll) = session.agent else { return nil }
        return await session.policy.autoPorts?.warningWithoutDetails
    }

    var warningWithoutDetails: String? {
        let blind = rules.filter(\.match.needsDetails)
        guard !blind.isEmpty else { return nil }
        let lines = blind.compactMap(\.line).map(String.init).joined(separator: ", ")
        return """
            The agent tells no command lines and containers: rules of rum.toml that depend on them match nothing, and those \
            that ask do so wherever they could match (line \(lines))
            """
    }
}
