internal import AgentAPI
internal import Ports
internal import Synchronization

/// Tables with the details of their processes: each table at once, with what is known by then, and again when more is.
final class DescribedTables: ProcessAsker {
    private struct Known {
        var name: String
        /// nil while it is asked for.
        var details: ProcessDetails?
    }

    private struct State {
        var table: ListenTable?
        /// The processes of the newest table, by number.
        var known: [Int32: Known] = [:]
        /// Those of them that nobody reads yet.
        var questions: [ListeningProcess] = []
    }

    private let reader: ProcessReader
    private let state = Mutex(State())
    private let changes = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    init(reader: ProcessReader) { self.reader = reader }

    /// Writes until `tables` ends or a write fails; a slow writer gets the newest table and misses those between.
    func send(
        _ tables: some AsyncSequence<ListenTable, Never> & Sendable,
        to write: @escaping @Sendable (ListenTable) async throws -> Void
    ) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { for await table in tables { self.take(table) } }
            group.addTask {
                var last: ListenTable?
                for await _ in self.changes.stream {
                    guard let table = self.described, last.map({ !$0.sameContent(as: table) }) ?? true else {
                        continue
                    }
                    try await write(table)
                    last = table
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func take(_ table: ListenTable) {
        let processes = Dictionary(table.listeners.compactMap(\.process).map { ($0.pid, $0) }) { first, _ in
            first
        }
        let hasQuestions = state.withLock { state in
            state.table = table
            func isThere(_ pid: Int32, _ name: String) -> Bool { processes[pid]?.name == name }
            state.known = state.known.filter { isThere($0.key, $0.value.name) }
            state.questions.removeAll { !isThere($0.pid, $0.name) }
            let new = processes.values.filter { state.known[$0.pid] == nil }
                .prefix(AgentLimits.mostDescribed - state.known.count)
            for process in new { state.known[process.pid] = Known(name: process.name) }
            state.questions += new
            return !state.questions.isEmpty
        }
        if hasQuestions { reader.answer(self) }
        changes.continuation.yield()
    }

    func nextQuestion() -> (process: ListeningProcess, isLast: Bool)? {
        state.withLock { state in
            state.questions.popLast().map { ($0, state.questions.isEmpty) }
        }
    }

    func learn(_ details: ProcessDetails?, of process: ListeningProcess) {
        guard let details else { return }
        state.withLock { state in
            guard state.known[process.pid]?.name == process.name else { return }
            state.known[process.pid]?.details = details
        }
        changes.continuation.yield()
    }

    private var described: ListenTable? {
        state.withLock { state in
            state.table?.described { process in
                state.known[process.pid].flatMap { $0.name == process.name ? $0.details : nil }
            }
        }
    }
}
