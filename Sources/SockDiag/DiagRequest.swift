internal import CNetlink
internal import Glibc
package import Linux
package import Ports

/// The bytes of the two questions rum asks over NETLINK_SOCK_DIAG (sock_diag(7)).
package enum DiagRequest: Hashable, Sendable {
    /// Every listener of both families whose port lies in the range.
    ///
    /// This is the older TCPDIAG_GETSOCK: a version 2 request names one family, so it walks the kernel's
    /// listening hash twice. The range becomes bytecode, so that the kernel drops the rest before it copies.
    case listeners(PortRange)
    /// The one socket that would take a connection to this address and port arriving on this interface.
    case owner(IPAddress, PortNumber, interfaceIndex: UInt32)

    /// The whole netlink message.
    package func bytes(sequence: UInt32) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 128) { buffer, count in
            guard let base = buffer.baseAddress, let header = mnl_nlmsg_put_header(base) else { return }
            header.pointee.nlmsg_seq = sequence
            switch self {
            case .listeners(let range): Self.put(range, into: header)
            case .owner(let address, let port, let index): Self.put(address, port, index, into: header)
            }
            count = Int(header.pointee.nlmsg_len)
        }
    }

    private static func put(_ range: PortRange, into header: UnsafeMutablePointer<nlmsghdr>) {
        header.pointee.nlmsg_type = UInt16(TCPDIAG_GETSOCK)
        header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
        var request = inet_diag_req()
        request.idiag_family = UInt8(AF_UNSPEC)
        request.idiag_states = 1 << UInt32(TCP_LISTEN)
        put(request, into: header)
        guard range != .all else { return }
        let code = portRange(range)
        code.withUnsafeBytes {
            mnl_attr_put(header, UInt16(INET_DIAG_REQ_BYTECODE), $0.count, $0.baseAddress)
        }
    }

    /// `sport >= lower && sport <= upper`. A jump of `yes` bytes goes on; one to 4 bytes past the end says no.
    /// The port is in the `no` member of the slot behind each operation (net/ipv4/inet_diag.c).
    private static func portRange(_ range: PortRange) -> [inet_diag_bc_op] {
        [
            inet_diag_bc_op(code: UInt8(INET_DIAG_BC_S_GE), yes: 8, no: 20),
            inet_diag_bc_op(code: 0, yes: 0, no: range.lower.rawValue),
            inet_diag_bc_op(code: UInt8(INET_DIAG_BC_S_LE), yes: 8, no: 12),
            inet_diag_bc_op(code: 0, yes: 0, no: range.upper.rawValue),
        ]
    }

    private static func put(
        _ address: IPAddress, _ port: PortNumber, _ interfaceIndex: UInt32,
        into header: UnsafeMutablePointer<nlmsghdr>
    ) {
        header.pointee.nlmsg_type = UInt16(SOCK_DIAG_BY_FAMILY)
        header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST)
        var request = inet_diag_req_v2()
        request.sdiag_family = UInt8(address.isV6 ? AF_INET6 : AF_INET)
        request.sdiag_protocol = UInt8(IPPROTO_TCP)
        request.idiag_states = 1 << UInt32(TCP_LISTEN)
        request.id.idiag_sport = port.rawValue.bigEndian
        request.id.idiag_if = interfaceIndex
        request.id.idiag_cookie = (INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE)
        withUnsafeMutableBytes(of: &request.id.idiag_src) { address.store(to: $0) }
        put(request, into: header)
    }

    private static func put<Payload: BitwiseCopyable>(
        _ payload: Payload, into header: UnsafeMutablePointer<nlmsghdr>
    ) {
        let place = mnl_nlmsg_put_extra_header(header, MemoryLayout<Payload>.size)
        place?.storeBytes(of: payload, as: Payload.self)
    }
}
