internal import AgentAPI
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// Tells the gate when a connection's first bytes come.
final class FirstBytesHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let gate: ConnectionGate

    init(_ gate: ConnectionGate) { self.gate = gate }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        gate.heard(from: context.channel)
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
