internal import CNetlink
internal import Glibc
package import Linux
internal import Ports

/// The addresses of this machine's network interfaces, asked over NETLINK_ROUTE (rtnetlink(7)) in the network
/// namespace of the thread that made the object.
package final class InterfaceAddresses {
    private let socket: NetlinkSocket
    private var sequence: UInt32 = 0
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 8)

    package init() throws(SystemError) {
        socket = try NetlinkSocket(bus: NETLINK_ROUTE)
    }

    deinit { buffer.deallocate() }

    /// The interface's own addresses of one family, in the kernel's order; blocks for microseconds.
    package func addresses(ofInterface index: UInt32, v6: Bool) throws(SystemError) -> [IPAddress] {
        sequence &+= 1
        try socket.send(Self.request(v6: v6, sequence: sequence))
        var found: [IPAddress] = []
        while true {
            let count = try socket.receive(into: buffer)
            var messages = NetlinkMessages(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            do throws(SockDiagError) {
                while let message = try messages.next() {
                    guard message.sequence == sequence else { continue }
                    switch Int(message.type) {
                    case Int(NLMSG_DONE), Int(NLMSG_ERROR): return found
                    case RTM_NEWADDR:
                        if let address = try Self.address(message.payload, ofInterface: index) {
                            found.append(address)
                        }
                    default: continue
                    }
                }
            } catch {
                throw SystemError(code: EBADMSG, operation: "NETLINK_ROUTE")
            }
        }
    }

    private static func request(v6: Bool, sequence: UInt32) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
            guard let base = buffer.baseAddress, let header = mnl_nlmsg_put_header(base) else { return }
            header.pointee.nlmsg_type = UInt16(RTM_GETADDR)
            header.pointee.nlmsg_flags = UInt16(NLM_F_REQUEST | NLM_F_DUMP)
            header.pointee.nlmsg_seq = sequence
            let place = mnl_nlmsg_put_extra_header(header, MemoryLayout<ifaddrmsg>.size)
            var message = ifaddrmsg()
            message.ifa_family = UInt8(v6 ? AF_INET6 : AF_INET)
            place?.storeBytes(of: message, as: ifaddrmsg.self)
            count = Int(header.pointee.nlmsg_len)
        }
    }

    private static func address(
        _ payload: UnsafeRawBufferPointer, ofInterface index: UInt32
    ) throws(SockDiagError) -> IPAddress? {
        guard payload.count >= MemoryLayout<ifaddrmsg>.size else { throw .cutMessage }
        guard payload.loadUnaligned(as: ifaddrmsg.self).ifa_index == index else { return nil }
        var attributes = NetlinkAttributes(
            UnsafeRawBufferPointer(rebasing: payload[MemoryLayout<ifaddrmsg>.size...]))
        var result: IPAddress?
        while let attribute = try attributes.next() {
            // IFA_LOCAL is our end of a point-to-point link; elsewhere it equals IFA_ADDRESS or is absent.
            switch (Int(attribute.type), attribute.payload.count) {
            case (IFA_LOCAL, 4): return IPAddress(v4At: attribute.payload)
            case (IFA_ADDRESS, 4): result = IPAddress(v4At: attribute.payload)
            case (IFA_LOCAL, 16), (IFA_ADDRESS, 16): result = IPAddress(v6At: attribute.payload)
            default: continue
            }
        }
        return result
    }
}
