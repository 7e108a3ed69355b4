internal import CNetlink
internal import Glibc
internal import Linux
package import Ports

/// Reads the kernel's answer, one datagram at a time.
package enum DiagReply {
    /// Whether more datagrams of this answer will come.
    package enum Progress: Hashable, Sendable {
        case more
        case done
    }

    /// Appends the listeners of one datagram to `rows`; see `walk`.
    package static func decode(
        _ datagram: UnsafeRawBufferPointer, sequence: UInt32, into rows: inout [ObservedListener]
    ) throws(SockDiagError) -> Progress {
        try walk(datagram, sequence: sequence) { payload throws(SockDiagError) in
            if let row = try row(payload) { rows.append(row) }
        }
    }

    /// Hands the payload of each socket in one datagram of a dump to `take`.
    ///
    /// Messages with another sequence number are left over from a question whose answer was abandoned, and are
    /// passed over.
    ///
    /// - Throws: `.failed` with the errno of an ERROR or DONE message; `.cutMessage`; what `take` throws.
    static func walk(
        _ datagram: UnsafeRawBufferPointer, sequence: UInt32,
        _ take: (UnsafeRawBufferPointer) throws(SockDiagError) -> Void
    ) throws(SockDiagError) -> Progress {
        var messages = NetlinkMessages(datagram)
        while let message = try messages.next() {
            guard message.sequence == sequence else { continue }
            if let code = try message.errorCode() {
                guard code == 0 else { throw .failed(failure(code)) }
                return .done
            }
            switch Int32(message.type) {
            case TCPDIAG_GETSOCK, Int32(SOCK_DIAG_BY_FAMILY):
                try take(message.payload)
            default:
                continue
            }
        }
        return .more
    }

    /// The answer to a look-up in one datagram; nil when the datagram has none.
    ///
    /// The kernel answers with one message and no DONE, so whatever carries the sequence number is the answer: a
    /// socket that has just ceased to listen (state CLOSE) and an error mean that nobody would take the connection.
    package static func owner(
        _ datagram: UnsafeRawBufferPointer, sequence: UInt32
    ) throws(SockDiagError) -> PortOwner? {
        var messages = NetlinkMessages(datagram)
        while let message = try messages.next() {
            guard message.sequence == sequence else { continue }
            if let code = try message.errorCode() {
                return .nobody(because: code == 0 || code == ENOENT ? nil : failure(code))
            }
            switch Int32(message.type) {
            case TCPDIAG_GETSOCK, Int32(SOCK_DIAG_BY_FAMILY):
                return try row(message.payload).map(PortOwner.listener) ?? .nobody(because: nil)
            default: return .nobody(because: nil)
            }
        }
        return nil
    }

    private static func failure(_ code: Int32) -> SystemError {
        SystemError(code: code, operation: "NETLINK_SOCK_DIAG")
    }

    /// nil for a socket that does not listen: a look-up may find a connection.
    static func row(_ payload: UnsafeRawBufferPointer) throws(SockDiagError) -> ObservedListener? {
        guard payload.count >= MemoryLayout<inet_diag_msg>.size else { throw .cutMessage }
        let message = payload.loadUnaligned(as: inet_diag_msg.self)
        guard message.idiag_state == UInt8(TCP_LISTEN),
            let port = PortNumber(UInt16(bigEndian: message.id.idiag_sport)),
            let address = address(message)
        else { return nil }
        var socket = ListeningSocket(address: address, port: port, interfaceIndex: message.id.idiag_if)
        var attributes = NetlinkAttributes(
            UnsafeRawBufferPointer(rebasing: payload[MemoryLayout<inet_diag_msg>.size...]))
        while let attribute = try attributes.next() {
            if attribute.type == UInt16(INET_DIAG_SKV6ONLY), let flag = attribute.payload.first {
                socket.ipv6Only = flag != 0
            }
        }
        return ObservedListener(socket: socket, inode: UInt64(message.idiag_inode))
    }

    private static func address(_ message: inet_diag_msg) -> IPAddress? {
        withUnsafeBytes(of: message.id.idiag_src) {
            switch Int32(message.idiag_family) {
            case AF_INET: IPAddress(v4At: $0)
            case AF_INET6: IPAddress(v6At: $0)
            default: nil
            }
        }
    }
}
