internal import Linux
internal import Ports
internal import Synchronization

/// Opens a source of hints on a thread of its own, for one that waits for the kernel: to attach a program it patches its
/// functions, and waits for every CPU.
///
/// One is opened at a time, and closed again when nobody is left to take it. The thread has the network namespace, capabilities
/// and everything else that the calling thread has when it asks (clone(2)).
final class HintOpener: Sendable {
    /// What became of a level.
    struct Outcome: Sendable {
        let level: PushLevel
        let source: Result<OpenedHints, HintSourceLost>
    }

    private enum State {
        case idle, opening
        case done(Outcome)
    }

    private let waker: Waker
    private let state = Mutex(State.idle)

    /// `waker` wakes the thread that takes the outcome.
    init(waker: Waker) { self.waker = waker }

    /// Whether an outcome is to come, or is there and has not been taken.
    var isBusy: Bool {
        state.withLock {
            switch $0 {
            case .idle: false
            case .opening, .done: true
            }
        }
    }

    /// Begins to open a level, unless that is being done.
    func open(_ level: PushLevel, _ options: ListenWatcherOptions) {
        let isIdle = state.withLock { state in
            guard case .idle = state else { return false }
            state = .opening
            return true
        }
        guard isIdle else { return }
        do {
            try DedicatedThread.start(name: "hints-open") { [self] in
                WatchThread.standBack()
                let source = Result { () throws(HintSourceLost) in
                    OpenedHints(try options.openHints(level, options))
                }
                finish(level, source)
            }
        } catch {
            finish(level, .failure(HintSourceLost(error, doing: "opening it")))
        }
    }

    var hasOutcome: Bool { state.withLock { if case .done = $0 { true } else { false } } }

    /// The outcome, once.
    func take() -> Outcome? {
        state.withLock { state in
            guard case .done(let outcome) = state else { return nil }
            state = .idle
            return outcome
        }
    }

    private func finish(_ level: PushLevel, _ source: Result<OpenedHints, HintSourceLost>) {
        state.withLock { $0 = .done(Outcome(level: level, source: source)) }
        waker.wake()
    }
}

/// A source of hints on its way to the thread where it is used.
final class OpenedHints: Sendable {
    private let source: Mutex<(any HintSource)?>

    init(_ source: sending any HintSource) { self.source = Mutex(source) }

    /// The source, once.
    func take() -> sending (any HintSource)? { source.withLock { $0.take() } }
}
