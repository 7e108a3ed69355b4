internal import Linux
internal import Synchronization

/// Lets a few commands start at a time, and none where descriptors are short.
///
/// To start a program takes some ten of them. swift-subprocess (1.0.2) ends the process when it gets only some of the pipes, and so
/// does libdispatch when it can open no file: one command too many would end the agent, with every connection through it.
final class CommandRoom: Sendable {
    private static let mostStarting = 4
    private static let forEachStart = 16
    /// For all else that the agent opens meanwhile.
    private static let forOthers = 32

    /// The agent's: descriptors are the whole process's.
    static let ofAgent = CommandRoom()

    private struct State {
        var starting = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    /// Waits until few others are starting. nil where there are too few descriptors for one more command.
    func enter() async -> Place? {
        await withCheckedContinuation { turn in
            let isNow = state.withLock { state in
                guard state.starting < Self.mostStarting else {
                    state.waiting.append(turn)
                    return false
                }
                state.starting += 1
                return true
            }
            if isNow { turn.resume() }
        }
        let place = Place(room: self)
        return DescriptorLimit.free < Self.mostStarting * Self.forEachStart + Self.forOthers ? nil : place
    }

    /// The place goes to whoever has waited longest.
    private func leave() {
        let next: CheckedContinuation<Void, Never>? = state.withLock { state in
            if !state.waiting.isEmpty { return state.waiting.removeFirst() }
            state.starting -= 1
            return nil
        }
        next?.resume()
    }

    /// One command's, until it has started or can't be.
    final class Place: Sendable {
        private let room: CommandRoom
        private let isTaken = Atomic(true)

        fileprivate init(room: CommandRoom) { self.room = room }

        deinit { leave() }

        /// The command has started.
        func leave() { if isTaken.exchange(false, ordering: .relaxed) { room.leave() } }
    }
}
