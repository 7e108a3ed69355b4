import CommandMain
import Linux
import Machine
import Synchronization

/// Shows on standard error what is being done: a line for each step, and on a terminal how far it is.
final class ProgressPrinter: Sendable {
    private struct State {
        var sentence = ""
        var percent = -1
        var isOpen = false
    }

    private static let longestSentence = 1000
    private let state = Mutex(State())
    private let isTerminal = StandardError.isTerminal

    /// Sentences may quote the guest, so they are made safe for terminals.
    func show(_ step: MachineStep) {
        let step = MachineStep(step.sentence.printable(limit: Self.longestSentence), fraction: step.fraction)
        let percent = step.fraction.map { Int($0 * 100) } ?? -1
        let text: String? = state.withLock { state in
            if step.sentence != state.sentence {
                let end = state.isOpen ? "\n" : ""
                state = State(sentence: step.sentence, percent: percent, isOpen: isTerminal && percent >= 0)
                return end + "rum: " + step.sentence + (state.isOpen ? " \(percent) %" : "\n")
            }
            guard isTerminal, percent >= 0, percent != state.percent else { return nil }
            state.percent = percent
            state.isOpen = percent < 100
            return "\rrum: \(step.sentence) \(percent) %" + (state.isOpen ? "" : "\n")
        }
        if let text { StandardError.text(text) }
    }

    /// A step without a known length.
    func say(_ sentence: String) { show(MachineStep(sentence)) }
}
