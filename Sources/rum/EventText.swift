import CommandMain
import Control
import Linux
import PortForward
import Ports

extension ForwardEvent {
    /// One line for people, without its end. Names and reasons may come from the guest, and reach no terminal raw.
    var line: String {
        let reason = reason?.printable(limit: Self.longestText)
        let because = reason.map { ": \($0)" } ?? ""
        switch name {
        case .opened: return "\(prefix) \(hostText) → guest:\(guestText)"
        case .closed where failure != nil || wasAsked: return "Gave up on \(hostText)\(because)"
        case .closed: return "Stopped forwarding port \(portText)"
        case .blocked: return "Blocked: \(reason ?? hostText); \(outlook)"
        case .asked:
            return "Asked: \(hostText) → guest:\(guestText)\(program) \(reason ?? ""): \(commands)"
        case .agentLost: return "Lost the guest's agent\(because)"
        case .agentBack: return "The guest's agent is back\(because)"
        case .refused: return "Refused a client of \(hostText)\(because)"
        case .limited: return forward == nil ? "Limited\(because)" : "Limited: port \(portText)\(because)"
        }
    }

    /// Unicode scalars of a name or a reason; the rest is cut off. The kernel's names of processes have 15, and reasons one
    /// sentence.
    static let longestText = 1000

    private var hostText: String { forward?.hostText ?? "?" }
    private var guestText: String { forward?.guestPort.description ?? "?" }
    private var commands: String { forward.map { PortConsent.commands($0.guestPort) } ?? "" }
    private var program: String {
        guard let process = listener?.process else { return "" }
        return " (\(process.name.printable(limit: Self.longestText)), pid \(process.pid))"
    }
    private var portText: String { forward?.hostPort.description ?? "?" }
    private var outlook: String {
        if forward?.onConflict == .fail { return "its rule lets it fail, so it is not tried again" }
        return failure?.isBusy ?? true ? "will forward when it is free" : "will forward when it can be bound"
    }
    private var prefix: String { forward?.kind == .auto ? "Auto-forwarding" : "Forwarding" }
}

/// The JSON that stands where lines are missing. The whole state follows it: an `opened` or `blocked` for each forward,
/// and `agent_lost` if it is.
struct DroppedDocument: Encodable {
    let event = "dropped"
    /// How many lines are missing.
    let count: Int
}

extension String {
    /// For JSON, which escapes what it must: the guest decides about the text, but not about its length.
    fileprivate var cut: String { cut(to: ForwardEvent.longestText) }
}

extension EventDocument {
    init(_ event: ForwardEvent) {
        self.init(event: event.name.rawValue, timeMicroseconds: event.timeMicroseconds)
        kind = event.forward?.kind.rawValue
        bind = event.forward?.bind.text
        hostPort = event.forward?.hostPort.rawValue
        guestPort = event.forward?.guestPort.rawValue
        guestAddress = event.listener?.address.description
        process = event.listener?.process?.name.cut
        pid = event.listener?.process?.pid
        label = event.rule?.label
        ruleLine = event.rule?.line
        reason = event.reason?.cut
        latencyMicroseconds = event.latencyMicroseconds
    }
}
