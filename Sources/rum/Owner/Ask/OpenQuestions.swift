import Control
import Linux
import Ports

/// The questions about ports that are put to somebody at a terminal, one after the other, the oldest first: a pure value.
struct OpenQuestions {
    /// How long a question stands before a line can be its answer. The guest decides when questions come and go, and must not
    /// get the answer to another one.
    static let reactionTime = Duration.milliseconds(400)

    struct Question: Hashable {
        let guestPort: UInt16
        let hostPort: UInt16?
        let text: String
    }

    enum Outcome: Equatable {
        case answered(PortConsent, guestPort: UInt16)
        /// The question is to be put again.
        case unclear, tooSoon
        /// Nothing was asked or said.
        case nothing
    }

    private(set) var waiting: [Question] = []
    private var shownAt: ContinuousClock.Instant?

    /// Takes what has happened to a forward; whether another question is to be put now than before.
    mutating func take(_ event: EventDocument, at now: ContinuousClock.Instant) -> Bool {
        guard let port = event.guestPort, event.kind == "auto" else { return false }
        let before = waiting.first
        // Another forward of the port may end while it is asked about, and a bound may be told.
        let isOver = ["opened", "blocked"].contains(event.event)
        let ended = event.event == "closed" ? event.hostPort : nil
        waiting.removeAll { $0.guestPort == port && (isOver || ended != nil && $0.hostPort == ended) }
        let isNew = !waiting.contains { $0.guestPort == port && $0.hostPort == event.hostPort }
        if event.event == "asked", isNew {
            waiting.append(Question(guestPort: port, hostPort: event.hostPort, text: Self.text(event)))
        }
        return changed(from: before, now)
    }

    /// Takes what was typed.
    mutating func take(_ line: String, at now: ContinuousClock.Instant) -> Outcome {
        let word = line.filter { !$0.isWhitespace }.lowercased()
        guard let question = waiting.first, let shownAt, !word.isEmpty else { return .nothing }
        guard shownAt.duration(to: now) >= Self.reactionTime else { return .tooSoon }
        guard let answer = Self.words[word] else { return .unclear }
        waiting.removeFirst()
        _ = changed(from: question, now)
        return .answered(answer, guestPort: question.guestPort)
    }

    mutating func forgetAll() { (waiting, shownAt) = ([], nil) }

    private static let words: [String: PortConsent] = ["y": .allow, "yes": .allow, "n": .deny, "no": .deny]

    private mutating func changed(from before: Question?, _ now: ContinuousClock.Instant) -> Bool {
        guard waiting.first != before else { return false }
        shownAt = waiting.isEmpty ? nil : now
        return !waiting.isEmpty
    }

    private static func text(_ event: EventDocument) -> String {
        let program = event.process.map { " (\($0.printable(limit: 100)), pid \(event.pid ?? 0))" } ?? ""
        let host = event.hostPort.map { (event.bind ?? "").with(port: $0) } ?? "?"
        return "Forward \(host) → guest:\(event.guestPort ?? 0)\(program)? y or n, then Enter"
    }
}
