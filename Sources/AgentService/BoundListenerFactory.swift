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
    private let onlyHostOnVsock: Bool

    init(owning descriptor: consuming OwnedDescriptor, onlyHostOnVsock: Bool) {
        listener = HeldListener(descriptor)
        self.onlyHostOnVsock = onlyHostOnVsock
    }

    func makeListeningChannel(
        listenerConfigurator: HTTP2ServerTransport.ListenerConfigurator,
        connectionConfigurator: HTTP2ServerTransport.ConnectionConfigurator
    ) async throws -> NIOAsyncChannel<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel, Never> {
        guard let socket = listener.take() else { throw SystemError(code: EBADF, operation: "listen") }
        // Peers of other sockets have no CID to ask for; an unnamed unix peer makes the question fail.
        let checksPeer = onlyHostOnVsock && Self.isVsock(socket)
        return try await ServerBootstrap(group: eventLoopGroup)
            .serverChannelInitializer { listenerConfigurator.configure(channel: $0) }
            .bind(socket) { channel in
                guard checksPeer else { return configure(channel) }
                return Self.peerContextID(of: channel).flatMapThrowing { cid in
                    guard Self.admits(cid) else { throw SystemError(code: EACCES, operation: "accept") }
                    return channel
                }.flatMap(configure).flatMapErrorThrowing { error in
                    // NIO forgets a channel whose set-up failed, without closing it.
                    channel.close(promise: nil)
                    throw error
                }
            }

        @Sendable func configure(
            _ channel: any Channel
        ) -> EventLoopFuture<HTTP2ServerTransport.ConnectionConfigurator.ConnectionChannel> {
            connectionConfigurator.configure(channel: channel, tls: .none)
        }
    }

    /// Whether a peer may speak to the agent: on vsock only the host (VMADDR_CID_HOST, vsock(7)), not another guest
    /// and not a user of this one; elsewhere, where there is no CID, anybody.
    static func admits(_ cid: UInt32?) -> Bool { cid == nil || cid == 2 }

    private static func isVsock(_ socket: Int32) -> Bool {
        if case .vsock? = try? StreamSocket.localAddress(socket) { true } else { false }
    }

    /// The peer's CID on a vsock connection, nil on any other. Fails where it can't be found out, as when the peer has
    /// already gone.
    ///
    /// NIO has no vsock peer address; SO_PEERNAME is getpeername(2) as a socket option (net/core/sock.c).
    private static func peerContextID(of channel: any Channel) -> EventLoopFuture<UInt32?> {
        guard let options = channel as? any SocketOptionProvider else {
            return channel.eventLoop.makeSucceededFuture(nil)
        }
        return options.unsafeGetSocketOption(
            level: .init(rawValue: SOL_SOCKET), name: .init(rawValue: SO_PEERNAME)
        ).map { (address: VsockPeer) in address.contextID }.flatMapErrorThrowing { error in
            // The name of a unix socket's client is empty, and too short to be a vsock address.
            guard let error = error as? IOError, error.errnoCode == EINVAL else { throw error }
            return nil
        }
    }
}

/// struct sockaddr_vm, as far as it matters: 16 bytes.
struct VsockPeer {
    var family: UInt16 = 0
    var reserved: UInt16 = 0
    var port: UInt32 = 0
    var cid: UInt32 = 0
    var flagsAndPadding: UInt32 = 0

    /// nil for an address of another family.
    var contextID: UInt32? { Int32(family) == AF_VSOCK ? cid : nil }
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
