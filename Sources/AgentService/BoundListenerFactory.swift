internal import CLinux
internal import GRPCNIOTransportHTTP2TransportServices
internal import Glibc
internal import Linux
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// Lets gRPC serve a socket that is already bound, of any family.
///
/// gRPC's own way sets up a connection when it is accepted, which costs 34 KiB and most of the processor time of a
/// connection. Here that waits for the connection's first bytes, which a host sends at once and most strangers never.
struct BoundListenerFactory: HTTP2ServerTransport.ListenerFactory {
    private typealias Configured = HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel

    /// Serves all of the listener's connections.
    let loop: any EventLoop = MultiThreadedEventLoopGroup.singleton.next()
    var eventLoopGroup: any EventLoopGroup { loop }
    private let listener: HeldListener
    private let gate: ConnectionGate
    private let peers: PeerLookup

    init(owning descriptor: consuming OwnedDescriptor, gate: ConnectionGate, peers: PeerLookup) {
        listener = HeldListener(descriptor)
        self.gate = gate
        self.peers = peers
    }

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator,
        connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never> {
        guard let socket = listener.take() else { throw SystemError(code: EBADF, operation: "listen") }
        let ready = try await readyConnections()
        let accepting = try await ServerBootstrap(group: eventLoopGroup)
            .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
            .childChannelInitializer { [gate] channel in
                peers.contextID(channel).flatMapThrowing { cid in
                    // VMADDR_CID_HOST (vsock(7)): other CIDs are other guests, or users in this one.
                    if let cid, cid != 2 { throw SystemError(code: EACCES, operation: "accept") }
                    try gate.admit(channel)
                    try channel.pipeline.syncOperations.addHandler(
                        FirstBytesHandler {
                            gate.heard(from: channel)
                            connectionConfigurator.configure(channel: channel, tls: .none).whenComplete {
                                Self.handOver($0, of: channel, to: ready.channel, gate)
                            }
                        })
                }.flatMapErrorThrowing { error in
                    // NIO forgets a channel whose set-up failed, without closing it.
                    channel.close(promise: nil)
                    throw error
                }
            }
            .withBoundSocket(socket.release()).get()
        accepting.closeFuture.whenComplete { _ in ready.channel.close(promise: nil) }
        gate.listen(on: accepting)
        return ready
    }

    /// The channel from which gRPC takes connections. Nothing is ever read from its descriptor.
    private func readyConnections() async throws -> NIOAsyncChannel<Configured, Never> {
        let event = try SystemError.check("eventfd", eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC)))
        let channel = try await NIOPipeBootstrap(group: eventLoopGroup)
            .takingOwnershipOfDescriptor(input: event).get()
        return try await channel.eventLoop.submit {
            try NIOAsyncChannel(
                wrappingChannelSynchronously: channel,
                configuration: .init(inboundType: Configured.self, outboundType: Never.self))
        }.get()
    }

    private static func handOver(
        _ result: Result<Configured, any Error>, of connection: any Channel, to ready: any Channel,
        _ gate: ConnectionGate
    ) {
        guard case .success(let configured) = result else { return connection.close(promise: nil) }
        gate.hold(configured, for: connection)
        ready.pipeline.fireChannelRead(configured)
        ready.pipeline.fireChannelReadComplete()
    }
}

/// Holds the listening socket until gRPC asks for it.
private final class HeldListener: Sendable {
    private let descriptor: Mutex<OwnedDescriptor?>

    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = Mutex(descriptor) }

    /// The socket; nil the second time.
    func take() -> OwnedDescriptor? { descriptor.withLock { $0.take() } }
}
