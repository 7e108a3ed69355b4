import AgentAPI
import CommandMain
import Control

/// Shows what another process that owns the forwards does, as if it were this one.
struct OwnerFollower {
    enum End {
        /// The guest's agent can be followed, and its ports are open.
        case ready
        /// The owner has ended.
        case end
    }

    let link: OwnerLink
    let output: EventOutput
    let progress: ProgressPrinter
    var questions: TerminalQuestions?

    /// Returns then, or when the task is cancelled.
    ///
    /// - Throws: `CommandFailure` when the owner fails or goes without a word.
    func run(until end: End) async throws {
        while try await !follow(until: end), !Task.isCancelled {
            // It drops those who do not read fast enough; who comes again is told the whole state.
            guard let hello = try? await link.hello(), hello.version == ControlLimits.version else {
                throw CommandFailure(
                    "the process that forwarded the ports of \(link.machine) has ended without a word",
                    hint:
                        "`rum up -d` starts it again; its last words may be in background.log of the machine's folder"
                )
            }
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    /// One connection; whether what is waited for has come.
    private func follow(until end: End) async throws -> Bool {
        do {
            for try await message in link.messages(.events) {
                switch message {
                case .hello(let hello):
                    // All that stand come again.
                    questions?.forget()
                    if hello.rum != rumVersion {
                        progress.say(
                            "it is of rum \(hello.rum), and this is \(rumVersion); `rum up -d` replaces a background process"
                        )
                    }
                case .event(let event):
                    output.print(event)
                    questions?.take(event.object)
                case .said(let text): progress.say(text)
                case .report(let report):
                    if end == .ready, report.agent != nil { return true }
                    if let problem = report.agentProblem { progress.say("the guest's agent: \(problem)") }
                case .ended(let ended):
                    if ended.code == ExitStatus.done.rawValue, end == .end {
                        progress.say("The forwards of \(link.machine) have ended")
                        return true
                    }
                    throw CommandFailure(
                        ended.message ?? "the process that forwards the ports has ended",
                        hint: ended.hint ?? "`rum up -d` starts it again")
                case .answer, .error, .unknown: break
                }
            }
            return false
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            switch ControlError(error) {
            case .broken, .notServed: return false
            case let problem: throw link.failure(problem)
            }
        }
    }
}
