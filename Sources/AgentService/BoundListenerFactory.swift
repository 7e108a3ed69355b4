internal import GRPCNIOTransportHTTP2TransportServices
internal import Glibc
internal import Linux
internal import NIOCore
internal import NIOPosix
internal import Synchronization

/// Lets gRPC accept on a socket that is already bound, of any family.
struct BoundListenerFactory: HTTP2ServerTransport.ListenerFactory {
    let eventLoopGroup: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
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
        let listening = try await ServerBootstrap(group: eventLoopGroup)
            .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
            .bind(socket) { channel in
                peers.contextID(channel).flatMap { cid in
                    channel.eventLoop.makeCompletedFuture {
                        // VMADDR_CID_HOST (vsock(7)): other CIDs are other guests, or users in this one.
                        if let cid, cid != 2 { throw SystemError(code: EACCES, operation: "accept") }
                        try gate.admit(channel)
                        try channel.pipeline.syncOperations.addHandler(FirstBytesHandler(gate))
                    }
                }.flatMap {
                    connectionConfigurator.configure(channel: channel, tls: .none)
                }.always { result in
                    if case .success(let configured) = result { gate.hold(configured, for: channel) }
                }.flatMapErrorThrowing { error in
                    // NIO forgets a channel whose set-up failed, without closing it.
                    channel.close(promise: nil)
                    throw error
                }
            }
        gate.listen(on: listening.channel)
        return listening
    }
}

/// Holds the listening socket until gRPC asks for it.
private final class HeldListener: Sendable {
    private let descriptor: Mutex<Int32?>

    init(_ descriptor: consuming OwnedDescriptor) {
        self.descriptor = Mutex(descriptor.release())
    }

    deinit {
        if let left = take() { _ = OwnedDescriptor(owning: left) }
    }

    /// The socket, which is the caller's from now on; nil the second time.
    func take() -> Int32? {
        descriptor.withLock { held in
            defer { held = nil }
            return held
        }
    }
}
