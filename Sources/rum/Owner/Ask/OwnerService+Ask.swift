import Control
import HostForward
import Machine
import PortForward
import Ports

/// The user's answers about ports whose rule asks.
extension OwnerService {
    /// Keeps answers beyond this process.
    typealias Memory = @Sendable (PortConsent?, PortNumber) async throws(MachineError) -> Void

    /// Takes an answer; nil forgets the one before. It holds at once, and is then remembered.
    func take(_ answer: PortConsent?, about number: UInt16) async -> ControlAnswer {
        guard let port = PortNumber(number) else { return .noPort }
        if answer != nil, await !session.policy.mayAsk(about: port) {
            return ControlAnswer(
                isDone: false, reason: "not_asked", sentence: "no rule asks about guest port \(port)",
                hint: "`rum ports why \(port)` tells what becomes of it")
        }
        await session.answer(answer, about: port)
        var said = await outcome(of: answer, about: port)
        do throws(MachineError) {
            try await remember(answer, port)
        } catch {
            said.sentence += ", but only until forwarding ends: \(error.message)"
            said.hint = error.hint
        }
        return said
    }

    func forgetAll() async -> ControlAnswer {
        for port in await session.policy.answers.keys.sorted() {
            let answer = await take(nil, about: port.rawValue)
            if answer.hint != nil { return answer }
        }
        return .forgotten
    }

    private func outcome(of answer: PortConsent?, about port: PortNumber) async -> ControlAnswer {
        switch answer {
        case .deny:
            return ControlAnswer(
                isDone: true, reason: "denied",
                sentence: "guest port \(port) is denied and not asked about again")
        case nil:
            return ControlAnswer(
                isDone: true, reason: "forgotten",
                sentence: "what was answered about guest port \(port) is forgotten")
        case .allow:
            let forward = await session.forwards.first {
                $0.forward.kind == .auto && $0.forward.guestPort == port
            }
            let outcome =
                switch forward?.state {
                case .open, .held:
                    "guest port \(port) is allowed: \(forward?.forward.hostText ?? "") → guest:\(port)"
                case .blocked: "guest port \(port) is allowed, but \(forward?.reason ?? "")"
                case .asking, nil: "guest port \(port) is allowed, and forwarded when something listens there"
                }
            return ControlAnswer(isDone: true, reason: "allowed", sentence: outcome)
        }
    }
}
