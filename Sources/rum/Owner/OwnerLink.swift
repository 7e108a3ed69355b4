import AgentAPI
import CommandMain
import Control
import Machine
import RumConfig

/// The way to the process that owns a machine's forwards, or is a `rum forward` with that name, if there is one.
struct OwnerLink: Sendable {
    /// It may ask the guest, which it does for 2 s at the most.
    private static let reportTime = Duration.seconds(3)

    let machine: String
    let kind: ForwardsKind
    private let client: ControlClient

    init(_ machine: VirtualMachine) {
        self.init(machine.config.name, .machine, socket: machine.files.controlSocket)
    }

    init(_ forward: ForwardFiles) { self.init(forward.name, .command, socket: forward.controlSocket) }

    private init(_ machine: String, _ kind: ForwardsKind, socket: String) {
        self.machine = machine
        self.kind = kind
        client = ControlClient(path: socket)
    }

    /// nil when nobody owns the forwards.
    func hello() async throws(CommandFailure) -> ControlHello? {
        try await explained { () async throws(ControlError) in try await client.hello() }
    }

    /// Everything the owner says; the stream throws `ControlError`.
    func messages(_ request: ControlRequest) -> AsyncThrowingStream<ControlMessage, any Error> {
        client.messages(request)
    }

    /// What the owner knows; nil when there is none.
    func report() async throws(CommandFailure) -> OwnerReport? {
        let message = try await explained { () async throws(ControlError) in
            try await client.answer(.status, within: Self.reportTime)
        }
        if case .report(let report)? = message { return report }
        return nil
    }

    /// The answer to a question; nil when there is nobody to ask.
    func answer(
        _ request: ControlRequest, within time: Duration = ControlLimits.answerTime
    ) async throws(CommandFailure) -> ControlAnswer? {
        let message = try await explained { () async throws(ControlError) in
            try await client.answer(request, within: time)
        }
        if case .answer(let answer)? = message { return answer }
        if case .ended? = message { return nil }
        return message == nil
            ? nil : ControlAnswer(isDone: false, reason: "unknown", sentence: "no answer came")
    }

    /// Ends the owner, whatever its version, and returns when it has ended; false when there was none.
    @discardableResult
    func end() async throws(CommandFailure) -> Bool {
        do {
            // The connection lasts as long as the owner.
            for try await _ in client.messages(.stop, silence: .seconds(10)) {}
            return true
        } catch {
            let problem = ControlError(error)
            if problem == .notServed { return false }
            // It may have ended by itself in this moment.
            guard try await hello() != nil else { return true }
            throw failure(problem)
        }
    }

    private func explained<Answer>(
        _ body: () async throws(ControlError) -> Answer
    ) async throws(CommandFailure) -> Answer? {
        do throws(ControlError) {
            return try await body()
        } catch {
            if error == .notServed { return nil }
            throw failure(error)
        }
    }

    func failure(_ error: ControlError) -> CommandFailure {
        switch error {
        case .notServed: .nothingForwards(machine, kind)
        case .otherVersion(let hello):
            CommandFailure(
                "the ports of \(machine) are forwarded by rum \(hello.rum) (pid \(hello.pid)), which this rum \(rumVersion) does not understand",
                hint: hello.isBackground
                    ? "`rum up -d` starts the forwarding again with this version"
                    : "end that `\(kind.command)` with Ctrl-C, and start it again with this version")
        case .refused(let refusal): CommandFailure(refusal.message, hint: refusal.hint)
        case .broken(let text):
            CommandFailure(
                "the process that forwards the ports of \(machine) cannot be asked: \(text)",
                hint: kind == .machine
                    ? "try again; `rum down` and `rum up -d` start all anew"
                    : "try again, or end that `rum forward` and start it anew")
        }
    }
}

extension CommandFailure {
    static func nothingForwards(_ machine: String, _ kind: ForwardsKind = .machine) -> CommandFailure {
        CommandFailure(
            "nothing forwards the ports of \(machine)",
            hint: kind == .machine
                ? "`rum up -d` does so in the background, `rum up` in this terminal"
                : "`rum forward --name \(machine) --agent ADDRESS` does so")
    }
}
