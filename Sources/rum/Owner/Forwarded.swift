import CommandMain
import Control
import Machine
import RumConfig

/// Whose forwards a command is about.
enum Forwarded: Sendable {
    case machine(VirtualMachine)
    /// A `rum forward` with a name.
    case command(ForwardFiles)

    var link: OwnerLink {
        switch self {
        case .machine(let machine): OwnerLink(machine)
        case .command(let forward): OwnerLink(forward)
        }
    }

    /// What the process that forwards answers; where there is none, why.
    func answer(_ request: ControlRequest) async throws(CommandFailure) -> ControlAnswer {
        if let answer = try await link.answer(request) { return answer }
        return await withoutOwner()
    }

    /// Why nothing is forwarded where nobody can be asked.
    func withoutOwner() async -> ControlAnswer {
        switch self {
        case .machine(let machine): return await Self.withoutOwner(machine)
        case .command(let forward):
            let failure = CommandFailure.nothingForwards(forward.name, .command)
            return ControlAnswer(
                isDone: false, reason: "no_owner", sentence: failure.message, hint: failure.hint)
        }
    }

    private static func withoutOwner(_ machine: VirtualMachine) async -> ControlAnswer {
        let name = machine.config.name
        let state: MachineState
        do throws(MachineError) {
            state = try await machine.status().state
        } catch {
            return ControlAnswer(
                isDone: false, reason: "unknown",
                sentence: "nothing forwards the ports of \(name), and \(error.message)",
                hint: error.hint)
        }
        switch state {
        case .running, .paused, .sleeping, .shuttingDown:
            let failure = CommandFailure.nothingForwards(name)
            return ControlAnswer(
                isDone: false, reason: "no_owner",
                sentence: "\(name) is \(state.rawValue), but \(failure.message)",
                hint: failure.hint)
        case .absent, .stopped:
            let word = state == .absent ? "was never started" : "is stopped"
            return ControlAnswer(
                isDone: false, reason: "machine_stopped", sentence: "\(name) \(word)",
                hint: "`rum up -d` starts it and forwards in the background")
        }
    }
}

/// What settles which ports are forwarded; sentences name its settings.
enum ForwardsKind: Sendable {
    /// rum.toml, and `rum up`.
    case machine
    /// The options of `rum forward`.
    case command

    var command: String { self == .machine ? "rum up" : "rum forward" }
    var source: String { self == .machine ? "rum.toml" : "`rum forward`" }
    var automatic: String { self == .machine ? "[auto_ports]" : "--auto" }
    var fixed: String { self == .machine ? "[[ports]]" : "--port" }
    var ignored: String { self == .machine ? "auto_ports.ignore" : "--ignore" }
    var range: String { self == .machine ? "auto_ports.range" : "--auto" }
}
