internal import CNetlink
internal import Glibc
internal import Linux

/// The bytes of the two questions rum asks over NETLINK_ROUTE.
enum RouteRequest {
    /// All interfaces' addresses of one family.
    case addresses(v6: Bool)
    /// The route that a packet from here to this address would take, out of one interface where it is not 0.
    case route(to: IPAddress, interface: UInt32)

    func bytes(sequence: UInt32) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 128) { buffer, count in
            guard let base = buffer.baseAddress, let header = mnl_nlmsg_put_header(base) else { return }
            header.pointee.nlmsg_seq = sequence
            switch self {
            case .addresses(let v6):
                header.pointee.nlmsg_type = UInt16(RTM_GETADDR)
                header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
                var message = ifaddrmsg()
                message.ifa_family = UInt8(v6 ? AF_INET6 : AF_INET)
                Self.put(message, into: header)
            case .route(let address, let interface):
                header.pointee.nlmsg_type = UInt16(RTM_GETROUTE)
                header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST)
                let bytes = address.networkBytes
                var message = rtmsg()
                message.rtm_family = UInt8(address.isV6 ? AF_INET6 : AF_INET)
                message.rtm_dst_len = UInt8(bytes.count * 8)
                Self.put(message, into: header)
                mnl_attr_put(header, UInt16(RTA_DST.rawValue), bytes.count, bytes)
                if interface != 0 { mnl_attr_put_u32(header, UInt16(RTA_OIF.rawValue), interface) }
            }
            count = Int(header.pointee.nlmsg_len)
        }
    }

    private static func put<Payload: BitwiseCopyable>(
        _ payload: Payload, into header: UnsafeMutablePointer<nlmsghdr>
    ) {
        let place = mnl_nlmsg_put_extra_header(header, MemoryLayout<Payload>.size)
        place?.storeBytes(of: payload, as: Payload.self)
    }
}
