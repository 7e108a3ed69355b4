internal import AgentAPI
internal import Glibc
internal import Linux
internal import Ports

/// Reads the tables that an agent sends over a connection of their own.
final class TableFeedReader: Sendable {
    private static let pieceSize = 64 << 10

    private let thread: FeedThread
    private let feed: OwnedDescriptor
    private let arrivals = Arrivals()
    private let token: UInt64

    private init(_ feed: consuming OwnedDescriptor) throws(SystemError) {
        thread = try FeedThread.shared()
        token = try thread.watch(feed.rawValue, for: arrivals)
        self.feed = feed
    }

    deinit { thread.forget(feed.rawValue, token) }

    /// Hands each table to `body`, on the thread of feeds, and reads on when that is done; so an agent that sends faster has
    /// to wait.
    ///
    /// - Throws: `AgentProblem`, `CancellationError`; it does not return.
    static func read(
        _ feed: consuming OwnedDescriptor, _ body: @Sendable (ListenTable) async -> Void
    ) async throws {
        StreamSocket.keepAlive(feed.rawValue)
        let reader = try TableFeedReader(feed)
        try await withTaskExecutorPreference(reader.thread) { try await reader.read(body) }
    }

    private func read(_ body: @Sendable (ListenTable) async -> Void) async throws {
        var frames = TableFrameReader()
        var buffer = [UInt8](repeating: 0, count: Self.pieceSize)
        while true {
            try Task.checkCancellation()
            guard let count = try receive(&buffer) else {
                await arrivals.wait()
                continue
            }
            var bytes = buffer[..<count]
            do throws(TableFrame.Problem) {
                while let table = try frames.next(from: &bytes) { await body(table) }
            } catch {
                switch error {
                case .tooLarge: throw AgentProblem.tableTooLarge
                case .unreadable: throw AgentProblem.other("it sent a table that can't be read")
                }
            }
        }
    }

    /// Takes what has come; nil when that is nothing.
    private func receive(_ buffer: inout [UInt8]) throws(AgentProblem) -> Int? {
        while true {
            let count = recv(feed.rawValue, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count > 0 { return count }
            if count == 0 { throw .connectionBroke }
            switch errno {
            case EINTR: continue
            case EAGAIN: return nil
            default: throw .connectionBroke
            }
        }
    }
}
