internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// Sees what answers a call before gRPC does, which makes an unsigned number of the HTTP status: a negative one would end the
/// process (`HTTPResponseStatus` of NIO). Without it gRPC says that it is missing.
final class AnswerHandler: ChannelInboundHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = HTTP2Frame.FramePayload

    private static let status = ":status"

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .headers(var frame) = unwrapInboundIn(data),
            frame.headers[Self.status].contains(where: { $0.hasPrefix("-") })
        else {
            context.fireChannelRead(data)
            return
        }
        frame.headers.remove(name: Self.status)
        context.fireChannelRead(wrapInboundOut(.headers(frame)))
    }
}
