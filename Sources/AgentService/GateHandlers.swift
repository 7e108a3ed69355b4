internal import AgentAPI
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// Waits for a connection's first bytes; then what is to read them is added behind it.
final class FirstBytesHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let whenTheyCome: () -> Void

    init(_ whenTheyCome: @escaping () -> Void) { self.whenTheyCome = whenTheyCome }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        whenTheyCome()
        context.fireChannelRead(data)
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
