import CommandMain
import Control
import Linux
import Ports
import Synchronization

/// Asks on the terminal about ports whose rule asks, beside all that goes on: a question is a line, and so is the answer. Others
/// may answer first (`rum ports allow`), and then the question is gone.
final class TerminalQuestions: Sendable {
    private let lines: TerminalLines
    private let questions = Mutex(OpenQuestions())

    private init(_ lines: TerminalLines) { self.lines = lines }

    /// nil where nobody could answer: without a terminal to read from and to ask on.
    static func atTerminal() -> TerminalQuestions? {
        guard StandardError.isTerminal, let lines = try? TerminalLines() else { return nil }
        return TerminalQuestions(lines)
    }

    /// Takes what has happened to a forward; never waits.
    func take(_ event: EventDocument) {
        let isNews = questions.withLock { $0.take(event, at: .now) }
        follow(isNews)
    }

    /// Forgets all questions; those that still stand come again.
    func forget() {
        questions.withLock { $0.forgetAll() }
        follow(false)
    }

    /// Hands answers to `answer` until the task is cancelled.
    ///
    /// - Parameter answer: returns what went wrong; nil when it was taken.
    func run(_ answer: @Sendable (PortConsent, UInt16) async -> String?) async {
        await withTaskCancellationHandler {
            for await line in lines.stream {
                switch questions.withLock({ $0.take(line, at: .now) }) {
                case .answered(let consent, let port):
                    if let problem = await answer(consent, port) {
                        StandardError.line("rum: \(problem.printable(limit: 1000))")
                    }
                    follow(true)
                case .unclear, .tooSoon: follow(true)
                case .nothing: break
                }
            }
        } onCancel: {
            lines.end()
        }
    }

    /// - Parameter asks: whether to put the question that stands.
    private func follow(_ asks: Bool) {
        let question = questions.withLock { $0.waiting.first }
        if asks, let question { StandardError.line("rum: \(question.text)") }
        if question == nil || asks { lines.want(question != nil) }
    }
}
