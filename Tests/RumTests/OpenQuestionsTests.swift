import Control
import Ports
import Testing

@testable import rum

@Suite("Questions at a terminal")
struct OpenQuestionsTests {
    /// #expect takes nothing that changes as it is asked.
    private final class Holder {
        private var questions = OpenQuestions()
        var waiting: [OpenQuestions.Question] { questions.waiting }

        func take(_ event: EventDocument, at now: ContinuousClock.Instant) -> Bool {
            questions.take(event, at: now)
        }
        func take(_ line: String, at now: ContinuousClock.Instant) -> OpenQuestions.Outcome {
            questions.take(line, at: now)
        }
    }

    let start = ContinuousClock.now

    private func event(_ name: String, _ guest: UInt16, process: String? = nil) -> EventDocument {
        var event = EventDocument(event: name, timeMicroseconds: 0)
        (event.kind, event.bind, event.hostPort, event.guestPort) = ("auto", "127.0.0.1", guest + 1, guest)
        (event.process, event.pid) = (process, process.map { _ in 812 })
        return event
    }

    @Test("One stands at a time, the oldest first, and an answer brings the next")
    func order() {
        let questions = Holder()
        #expect(questions.take(event("asked", 5001, process: "no\u{1b}de"), at: start))
        #expect(!questions.take(event("asked", 5002), at: start))
        #expect(!questions.take(event("asked", 5001), at: start))
        #expect(
            questions.waiting.map(\.text) == [
                "Forward 127.0.0.1:5002 → guest:5001 (no\\u{1b}de, pid 812)? y or n, then Enter",
                "Forward 127.0.0.1:5003 → guest:5002? y or n, then Enter",
            ])
        let later = start + .seconds(1)
        #expect(questions.take(" Yes \r", at: later) == .answered(.allow, guestPort: 5001))
        #expect(questions.take("n", at: later + .seconds(1)) == .answered(.deny, guestPort: 5002))
        #expect(questions.take("y", at: later + .seconds(2)) == .nothing)
    }

    @Test("One stands until its own forward is answered about or ends")
    func stands() {
        let questions = Holder()
        _ = questions.take(event("asked", 5001), at: start)
        var other = event("closed", 5001)
        other.hostPort = 6001
        for unrelated in [event("limited", 5001), event("refused", 5001), event("closed", 5002), other] {
            #expect(!questions.take(unrelated, at: start))
            #expect(questions.waiting.count == 1, "\(unrelated.event)")
        }
        for end in ["closed", "opened", "blocked"] {
            _ = questions.take(event(end, 5001), at: start)
            #expect(questions.waiting == [], "\(end)")
            _ = questions.take(event("asked", 5001), at: start)
        }
    }

    @Test("One that comes before the one of another forward of its port has ended stands after that")
    func successor() {
        let questions = Holder()
        _ = questions.take(event("asked", 5001), at: start)
        var next = event("asked", 5001)
        next.hostPort = 6001
        _ = questions.take(next, at: start)
        _ = questions.take(event("closed", 5001), at: start)
        #expect(questions.waiting.map(\.hostPort) == [6001])
        next.event = "opened"
        _ = questions.take(next, at: start)
        #expect(questions.waiting == [])
    }

    @Test("An IPv6 address stands in brackets, as everywhere")
    func brackets() {
        let questions = Holder()
        var asked = event("asked", 5001)
        asked.bind = "::1"
        #expect(questions.take(asked, at: start))
        #expect(questions.waiting.first?.text == "Forward [::1]:5002 → guest:5001? y or n, then Enter")
    }

    @Test("A line is no answer to a question that has only just come in the place of another one")
    func reaction() {
        let questions = Holder()
        _ = questions.take(event("asked", 5001), at: start)
        _ = questions.take(event("asked", 5002), at: start)
        let later = start + .seconds(5)
        #expect(questions.take(event("opened", 5001), at: later))
        #expect(questions.take("y", at: later + .milliseconds(399)) == .tooSoon)
        #expect(questions.take("y", at: later + .milliseconds(400)) == .answered(.allow, guestPort: 5002))
    }

    @Test("Other words leave the question, an empty line says nothing, and what is answered elsewhere goes")
    func words() {
        let questions = Holder()
        let later = start + .seconds(1)
        #expect(questions.take("y", at: start) == .nothing)
        _ = questions.take(event("asked", 5001), at: start)
        #expect(questions.take("perhaps", at: later) == .unclear)
        #expect(questions.take(" ", at: later) == .nothing)
        #expect(questions.waiting.count == 1)
        #expect(!questions.take(event("closed", 5001), at: later))
        #expect(questions.waiting.isEmpty && questions.take("y", at: later) == .nothing)
        var fixed = event("asked", 80)
        fixed.kind = "static"
        #expect(!questions.take(fixed, at: later) && questions.waiting.isEmpty)
    }
}
