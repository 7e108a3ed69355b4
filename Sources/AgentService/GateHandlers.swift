internal import AgentAPI
internal import NIOCore
internal import NIOHPACK
internal import NIOHTTP2

/// Waits for a connection's first bytes; then what is to read them is added behind it. It stays in front, for two things that
/// NIO does with a connection that is closed while it is handled.
///
/// - What is added writes at once. Where the peer has closed by then, the write fails, and NIO reads on inside of it
///   (`BaseSocketChannel.flushNow`): the next bytes come here while the first are still being handled.
/// - A read that ends with the connection closed, as after an error of its peer, has no end (`channelReadComplete`). NIO's HTTP/2
///   then keeps streams that were read from in a list, and with them all that a connection had, for ever.
final class FirstBytesHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private enum State {
        case waiting(() -> Void)
        /// The first bytes are being handled; with what has come meanwhile.
        case beginning([ByteBuffer])
        case open
    }

    private var state: State

    init(_ whenTheyCome: @escaping () -> Void) { state = .waiting(whenTheyCome) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch state {
        case .waiting(let begin):
            state = .beginning([])
            begin()
            context.fireChannelRead(data)
            while case .beginning(var later) = state, !later.isEmpty {
                let next = later.removeFirst()
                state = .beginning(later)
                context.fireChannelRead(wrapInboundOut(next))
            }
            state = .open
        case .beginning(let later):
            state = .beginning(later + [unwrapInboundIn(data)])
            return
        case .open: context.fireChannelRead(data)
        }
        if !context.channel.isActive { context.fireChannelReadComplete() }
    }
}

/// Shows the gate the token of a call, before gRPC sees the call.
///
/// gRPC Swift (2.4.3) ends the process when a call's time limit is below zero, whoever sends it (`Timeout.init(amount:unit:)`): such
/// a limit is taken off.
final class CallHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTP2Frame.FramePayload
    typealias InboundOut = HTTP2Frame.FramePayload

    private static let timeLimit = "grpc-timeout"

    private let gate: ConnectionGate
    private let connection: any Channel

    init(_ gate: ConnectionGate, connection: any Channel) {
        self.gate = gate
        self.connection = connection
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .headers(var frame) = unwrapInboundIn(data) else {
            context.fireChannelRead(data)
            return
        }
        gate.called(on: connection, showing: frame.headers[AgentMetadata.tokenKey].first)
        if frame.headers[Self.timeLimit].contains(where: { $0.hasPrefix("-") }) {
            frame.headers.remove(name: Self.timeLimit)
        }
        context.fireChannelRead(wrapInboundOut(.headers(frame)))
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }
}
