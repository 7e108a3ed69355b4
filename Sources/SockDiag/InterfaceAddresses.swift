internal import CNetlink
internal import Glibc
package import Linux
internal import Ports

/// The addresses of this machine, asked over NETLINK_ROUTE (rtnetlink(7)) in the network namespace of the thread that
/// made the object. One question at a time; none waits.
package final class InterfaceAddresses {
    /// Dumps that changed while they were read, in a row, before the question is given up.
    private static let tries = 4

    private let connect: () -> Result<any NetlinkTransport, SystemError>
    private var transport: (any NetlinkTransport)?
    private var sequence: UInt32 = 0
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 8)

    package convenience init() throws(SystemError) {
        try self.init {
            Result { () throws(SystemError) in try NetlinkSocket(bus: NETLINK_ROUTE) }
        }
    }

    /// Opens the first transport now, and another whenever an answer had to be abandoned.
    package init(
        connect: @escaping () -> Result<any NetlinkTransport, SystemError>
    ) throws(SystemError) {
        self.connect = connect
        transport = try connect().get()
    }

    deinit { buffer.deallocate() }

    /// The interface's own addresses of one family, in the kernel's order.
    ///
    /// - Throws: the errno of the answer, and EINTR when the addresses kept changing while they were read.
    package func addresses(ofInterface index: UInt32, v6: Bool) throws(SystemError) -> [IPAddress] {
        for _ in 0..<Self.tries {
            if let found = try dump(ofInterface: index, v6: v6) { return found }
        }
        throw SystemError(code: EINTR, operation: "RTM_GETADDR")
    }

    /// nil when the addresses changed meanwhile (NLM_F_DUMP_INTR): some may be missing or come twice.
    private func dump(ofInterface index: UInt32, v6: Bool) throws(SystemError) -> [IPAddress]? {
        var found: [IPAddress] = []
        var isTorn = false
        let request = { (sequence: UInt32) in Self.request(v6: v6, sequence: sequence) }
        try ask(request) { message throws(SockDiagError) in
            isTorn = isTorn || message.flags & UInt16(NLM_F_DUMP_INTR) != 0
            if Int(message.type) == RTM_NEWADDR,
                let address = try Self.address(message.payload, ofInterface: index)
            {
                found.append(address)
            }
            return Int32(message.type) == NLMSG_DONE
        }
        return isTorn ? nil : found
    }

    /// Asks, and reads messages until `isLast` says so or one carries an error.
    private func ask(
        _ request: (_ sequence: UInt32) -> [UInt8], _ isLast: (NetlinkMessage) throws(SockDiagError) -> Bool
    ) throws(SystemError) {
        let transport =
            if let open = self.transport { open } else { try connect().get() }
        // Only an answer that was read to its end leaves the socket fit for the next question.
        self.transport = nil
        sequence &+= 1
        try transport.send(request(sequence))
        while true {
            let count = try transport.receive(into: buffer)
            var messages = NetlinkMessages(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            do throws(SockDiagError) {
                while let message = try messages.next() {
                    guard message.sequence == sequence else { continue }
                    if let code = try message.errorCode(), code != 0 {
                        self.transport = transport
                        throw .failed(SystemError(code: code, operation: "NETLINK_ROUTE"))
                    }
                    guard try isLast(message) else { continue }
                    self.transport = transport
                    return
                }
            } catch {
                if case .failed(let answer) = error { throw answer }
                throw SystemError(code: EBADMSG, operation: "NETLINK_ROUTE message")
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
            case (IFA_LOCAL, 16): return IPAddress(v6At: attribute.payload)
            case (IFA_ADDRESS, 16): result = IPAddress(v6At: attribute.payload)
            default: continue
            }
        }
        return result
    }
}
