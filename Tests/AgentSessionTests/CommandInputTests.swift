import Synchronization
import TestSupport
import Testing

@testable import AgentService

@Suite("Input of a command", .timeLimit(.minutes(1)))
struct CommandInputTests {
    private final class Flag: Sendable {
        private let value = Atomic(false)
        var isSet: Bool { value.load(ordering: .acquiring) }
        func set() { value.store(true, ordering: .releasing) }
    }

    @Test("Who waits for a command to read goes on when the command is gone, though it never read")
    func neverRead() async throws {
        let (input, isOver) = (CommandInput(), Flag())
        let tooMuch = [UInt8](repeating: 0, count: 5 << 20)
        Task {
            await input.put(tooMuch)
            isOver.set()
        }
        try await Task.sleep(for: .milliseconds(10))
        #expect(!isOver.isSet)
        input.discard()
        try await eventually("the caller goes on", within: .seconds(5)) {
            isOver.isSet
        }
        await input.put(tooMuch)
    }
}
