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
        var host_port: UInt16
        var guest_port: UInt16
        var guest_address: String?
        var process: String?
        var pid: Int32?
        var state: String
        var reason: String?
        var latency_us: UInt64?
        var connections: UInt64
        var bytes: UInt64
    }

    var pid: Int32
    /// Why the agent can't be followed; nil while it can.
    var agent_problem: String?
    /// `stream` or `poll`; nil while the agent can't be followed.
    var delivery: String?
    var forwards: [Forward]

    init(_ session: ForwardSession) async {
        pid = ProcessInfo.processInfo.processIdentifier
        switch session.agent {
        case .notYetReached: agent_problem = "it has not answered yet"
        case .connected(_, let delivery): self.delivery = delivery.rawValue
        case .lost(let reason): agent_problem = reason
        }
        forwards = await session.forwards.map(Forward.init)
    }
}

extension UpReport.Forward {
    init(_ snapshot: ForwardSnapshot) {
        kind = snapshot.forward.kind.rawValue
        bind = snapshot.forward.bind.text
        host_port = snapshot.forward.hostPort.rawValue
        guest_port = snapshot.forward.guestPort.rawValue
        guest_address = snapshot.listener?.address.description
        process = snapshot.listener?.process?.name
        pid = snapshot.listener?.process?.pid
        state = snapshot.state.rawValue
        reason = snapshot.reason
        latency_us = snapshot.latencyMicroseconds
        connections = snapshot.counters.accepted
        bytes = snapshot.counters.bytesToGuest + snapshot.counters.bytesFromGuest
    }
}
