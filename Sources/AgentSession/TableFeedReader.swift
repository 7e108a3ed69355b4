internal import AgentAPI
internal import Linux
internal import NIOCore
internal import NIOPosix
internal import Ports

/// Reads the tables that an agent sends over a connection of their own.
enum TableFeedReader {
    /// Hands each table to `body`, and reads on when that is done; so an agent that sends faster has to wait.
    ///
    /// - Parameter loop: reads the connection; best the one on which the caller's task runs, so that no thread has to be woken
    ///   on the way.
    /// - Throws: `AgentProblem`, `CancellationError`; it does not return.
    static func read(
        _ feed: consuming OwnedDescriptor, on loop: any EventLoop,
        _ body: @Sendable (ListenTable) async -> Void
    ) async throws {
        StreamSocket.keepAlive(feed.rawValue)
        let number = feed.release()
        do {
            let channel = try await ClientBootstrap(group: loop).withConnectedSocket(number) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, Never>(
                        wrappingChannelSynchronously: channel,
                        configuration: .init(backPressureStrategy: .init(lowWatermark: 1, highWatermark: 1)))
                }
            }
            var frames = TableFrameReader()
            try await channel.executeThenClose { inbound in
                for try await piece in inbound {
                    var bytes = Array(piece.readableBytesView)[...]
                    while let table = try frames.next(from: &bytes) { await body(table) }
                }
            }
        } catch TableFrame.Problem.tooLarge {
            throw AgentProblem.tableTooLarge
        } catch TableFrame.Problem.unreadable {
            throw AgentProblem.other("it sent a table that can't be read")
        } catch is IOError {
            throw AgentProblem.connectionBroke
        }
        try Task.checkCancellation()
        throw AgentProblem.connectionBroke
    }
}
