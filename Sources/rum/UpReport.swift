import AgentSession
import Foundation
import HostForward
import Linux
import PortForward
import Ports
import Relay

/// What a running `rum up` tells `rum status`.
struct UpReport: Codable, Sendable {
    /// One forward, with the names of the events.
    struct Forward: Codable, Sendable {
        var kind: String
        var bind: String
        var hostPort: UInt16
        var guestPort: UInt16
        var guestAddress: String?
        var process: String?
        var pid: Int32?
        var state: String
        var reason: String?
        var latencyMicroseconds: UInt64?
        var connections: UInt64
        var bytes: UInt64

        enum CodingKeys: String, CodingKey {
            case kind, bind, process, pid, state, reason, connections, bytes
            case hostPort = "host_port"
            case guestPort = "guest_port"
            case guestAddress = "guest_address"
            case latencyMicroseconds = "latency_us"
        }
    }

    enum CodingKeys: String, CodingKey {
        case pid, delivery, forwards
        case agentProblem = "agent_problem"
    }

    var pid: Int32
    /// Why the agent can't be followed; nil while it can.
    var agentProblem: String?
    /// `stream` or `poll`; nil while the agent can't be followed.
    var delivery: String?
    var forwards: [Forward]

    init(_ session: ForwardSession) async {
        pid = ProcessInfo.processInfo.processIdentifier
        switch session.agent {
        case .notYetReached: agentProblem = "it has not answered yet"
        case .connected(_, let delivery): self.delivery = delivery.rawValue
        case .lost(let reason): agentProblem = reason
        }
        forwards = await session.forwards.map(Forward.init)
    }
}

extension UpReport.Forward {
    init(_ snapshot: ForwardSnapshot) {
        kind = snapshot.forward.kind.rawValue
        bind = snapshot.forward.bind.text
        hostPort = snapshot.forward.hostPort.rawValue
        guestPort = snapshot.forward.guestPort.rawValue
        guestAddress = snapshot.listener?.address.description
        process = snapshot.listener?.process?.name
        pid = snapshot.listener?.process?.pid
        state = snapshot.state.rawValue
        reason = snapshot.reason
        latencyMicroseconds = snapshot.latencyMicroseconds
        connections = snapshot.counters.accepted
        bytes = snapshot.counters.bytesToGuest + snapshot.counters.bytesFromGuest
    }
}
