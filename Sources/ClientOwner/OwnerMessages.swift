internal import Glibc
package import Linux

/// The question of sock_diag(7) for the client's socket of a connection within this host, and its answer, as bytes.
///
/// Both are laid out here by hand (linux/netlink.h, linux/inet_diag.h, part of the kernel's stable interface): it is one
/// message of fixed size each way, and the programs of the host do not link libmnl for it.
package enum OwnerMessages {
    /// NETLINK_SOCK_DIAG.
    static let bus: Int32 = 4
    /// SOCK_DIAG_BY_FAMILY.
    private static let byFamily: UInt16 = 20
    /// NLMSG_ERROR.
    private static let error: UInt16 = 2
    /// NLM_F_REQUEST.
    private static let isRequest: UInt16 = 1
    private static let headerSize = 16
    /// sizeof(struct inet_diag_req_v2).
    private static let questionSize = 56
    /// sizeof(struct inet_diag_msg).
    private static let answerSize = 72
    /// Of the loopback interface, in every network namespace (LOOPBACK_IFINDEX, net/flow.h). A client may have bound its
    /// socket to it (SO_BINDTODEVICE), and would not be found without; one that has not is found with it too.
    private static let loopbackIndex: UInt32 = 1
    /// TCP_LISTEN.
    private static let listens: UInt8 = 10

    /// What a datagram says.
    package enum Answer: Hashable, Sendable {
        /// It belongs to another question.
        case unrelated
        case owner(SocketOwner)
        /// The kernel could not look, for this errno.
        case failed(Int32)
    }

    /// The whole message: the client's address is the source. nil for addresses that are not of one family of TCP.
    package static func question(client: SocketAddress, server: SocketAddress, sequence: UInt32) -> [UInt8]? {
        guard case .tcp(let source, let sourcePort, _) = client,
            case .tcp(let target, let targetPort, _) = server,
            source.isV6 == target.isV6
        else { return nil }
        var bytes = [UInt8](repeating: 0, count: headerSize + questionSize)
        bytes.withUnsafeMutableBytes { message in
            func put<Value: BitwiseCopyable>(_ value: Value, at offset: Int) {
                message.storeBytes(of: value, toByteOffset: offset, as: Value.self)
            }
            put(UInt32(message.count), at: 0)
            put(byFamily, at: 4)
            put(isRequest, at: 6)
            put(sequence, at: 8)
            put(UInt8(source.isV6 ? AF_INET6 : AF_INET), at: 16)
            put(UInt8(IPPROTO_TCP), at: 17)
            // All states; a look-up of one socket does not heed it.
            put(UInt32.max, at: 20)
            put(sourcePort.bigEndian, at: 24)
            put(targetPort.bigEndian, at: 26)
            source.store(to: UnsafeMutableRawBufferPointer(rebasing: message[28..<44]))
            target.store(to: UnsafeMutableRawBufferPointer(rebasing: message[44..<60]))
            put(loopbackIndex, at: 60)
            // INET_DIAG_NOCOOKIE, twice.
            put(UInt64.max, at: 64)
        }
        return bytes
    }

    /// Reads one datagram; it may be cut behind the fixed part.
    package static func answer(
        _ datagram: UnsafeRawBufferPointer, client: SocketAddress, server: SocketAddress, sequence: UInt32
    ) -> Answer {
        func value<Value: BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
            datagram.loadUnaligned(fromByteOffset: offset, as: type)
        }
        guard datagram.count >= headerSize, value(8, as: UInt32.self) == sequence else { return .unrelated }
        switch value(4, as: UInt16.self) {
        case error:
            guard datagram.count >= headerSize + 4 else { return .failed(EBADMSG) }
            let code = 0 &- value(16, as: Int32.self)
            return code == ENOENT ? .owner(.unknown) : .failed(code == 0 ? EBADMSG : code)
        case byFamily:
            guard datagram.count >= headerSize + answerSize, case .tcp(_, let sourcePort, _) = client,
                case .tcp(_, let targetPort, _) = server
            else { return .failed(EBADMSG) }
            // Where the kernel finds no such connection, it answers with who listens on the client's port.
            guard value(17, as: UInt8.self) != listens, value(20, as: UInt16.self) == sourcePort.bigEndian,
                value(22, as: UInt16.self) == targetPort.bigEndian
            else { return .owner(.unknown) }
            let (user, inode) = (value(80, as: UInt32.self), value(84, as: UInt32.self))
            // What is left of a closed socket has neither (inet_twsk_diag_fill; sock_i_uid before Linux 6.17).
            return .owner(inode == 0 && user == 0 ? .unknown : .user(user))
        default: return .failed(EBADMSG)
        }
    }
}

/// Whose the client's end of a connection is.
package enum SocketOwner: Hashable, Sendable {
    /// The uid of whoever has made the socket, as the user namespace of this process knows it.
    case user(UInt32)
    /// The kernel has forgotten it, since the client has closed its socket already; or there is no such socket.
    case unknown
}
