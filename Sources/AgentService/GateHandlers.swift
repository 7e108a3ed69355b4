internal import AgentAPI
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// Waits for a connection's first bytes; then what is to read them is added behind it.
///
/// What is added writes at once. Where the peer has closed by then, the write fails, and NIO reads on inside of it
/// (`BaseSocketChannel.flushNow`): so the next bytes come here while the first are still being handled.
final class FirstBytesHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let whenTheyCome: () -> Void
    private var hasBegun = false
    private var later: [ByteBuffer] = []

    init(_ whenTheyCome: @escaping () -> Void) { self.whenTheyCome = whenTheyCome }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !hasBegun else {
            later.append(unwrapInboundIn(data))
            return
        }
        hasBegun = true
        whenTheyCome()
        context.fireChannelRead(data)
        while !later.isEmpty { context.fireChannelRead(wrapInboundOut(later.removeFirst())) }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}

/// Shows the gate the token of a call, before gRPC sees the call.
final class CallHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = HTTP2Frame.FramePayload

    private let gate: ConnectionGate
    private let connection: any Channel

    init(_ gate: ConnectionGate, connection: any Channel) {
        self.gate = gate
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .headers(let frame) = unwrapInboundIn(data) else {
            context.fireChannelRead(data)
            return
        }
        gate.called(on: connection, showing: frame.headers[AgentMetadata.tokenKey].first)
        context.fireChannelRead(data)
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}
