import AgentAPI
import AgentSession
import Control
import HostForward
import Linux
import PortForward
import Ports
import Relay

extension OwnerReport {
    /// What a session knows, as far as it can be told without asking the guest.
    init(_ session: ForwardSession, hello: ControlHello) async {
        self.init(
            pid: hello.pid, isBackground: hello.isBackground, rum: hello.rum,
            forwards: await session.forwards.map(Forward.init))
        switch session.agent {
        case .notYetReached: agentProblem = "it has not answered yet"
        case .connected(let info, let delivery):
            self.delivery = delivery.rawValue
            agent = "\(info.version) (\(info.source.mode.rawValue), \(info.source.push.rawValue))"
        case .lost(let reason): agentProblem = reason
        }
        autoRange = await session.policy.autoPorts?.range.description
    }
}

extension PortConsent {
    /// The commands that answer, as sentences name them.
    static func commands(_ port: PortNumber) -> String {
        "rum ports allow \(port), or rum ports deny \(port)"
    }
}

extension OwnerReport.Forward {
    /// Whether clients can connect.
    var isOpen: Bool { state == "open" || state == "held" }

    init(_ snapshot: ForwardSnapshot) {
        self.init(
            kind: snapshot.forward.kind.rawValue, bind: snapshot.forward.bind.text,
            hostPort: snapshot.forward.hostPort.rawValue, guestPort: snapshot.forward.guestPort.rawValue,
            state: snapshot.state.rawValue)
        fill(with: snapshot.listener)
        label = snapshot.rule?.label
        ruleLine = snapshot.rule?.line
        onConflict = snapshot.rule?.onConflict.rawValue
        reason = snapshot.reason
        if snapshot.state == .asking {
            reason = "\(reason ?? ""): \(PortConsent.commands(snapshot.forward.guestPort))"
        }
        latencyMicroseconds = snapshot.latencyMicroseconds
        connections = snapshot.counters.accepted
        active = snapshot.counters.active
        bytes = snapshot.counters.bytesToGuest + snapshot.counters.bytesFromGuest
    }

    /// Notes who listens in the guest.
    mutating func fill(with listener: ListeningSocket?) {
        guestAddress = listener?.address.description
        process = listener?.process?.name
        pid = listener?.process?.pid
    }

    /// The host side, as users write it.
    var hostText: String { bind.with(port: hostPort) }

    /// One line for people; names in it may come from the guest.
    ///
    /// - Parameter isGuestKnown: whether it is known who listens in the guest.
    func text(isGuestKnown: Bool) -> String {
        let guest =
            guestAddress == nil && isGuestKnown
            ? "guest:\(guestPort), where nothing listens" : "guest:\(guestPort)"
        let name = label.map { ", \($0)" } ?? ""
        let program = process.map { " (\($0), pid \(pid ?? 0))" } ?? ""
        return "\(hostText) → \(kind == "auto" ? "guest:\(guestPort)" : guest)\(program)\(name)"
            + (reason.map { ", \(state == "blocked" ? "blocked: " : state == "asking" ? "" : "since ")\($0)" }
                ?? "")
    }
}
