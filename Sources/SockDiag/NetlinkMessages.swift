internal import CNetlink

/// One netlink message inside a received buffer; valid while the buffer is.
struct NetlinkMessage {
    let type: UInt16
    let flags: UInt16
    let sequence: UInt32
    let payload: UnsafeRawBufferPointer
}

extension NetlinkMessage {
    /// The errno in an ERROR or DONE message, 0 for success; nil for a message of any other type.
    func errorCode() throws(SockDiagError) -> Int32? {
        guard Int32(type) == NLMSG_ERROR || Int32(type) == NLMSG_DONE else { return nil }
        guard payload.count >= MemoryLayout<Int32>.size else { throw .cutMessage }
        // Not every number has a negative.
        return 0 &- payload.loadUnaligned(as: Int32.self)
    }
}

/// Walks the messages of one received datagram without trusting a length in it.
struct NetlinkMessages {
    private var rest: UnsafeRawBufferPointer

    init(_ datagram: UnsafeRawBufferPointer) { rest = datagram }

    /// The next message, nil at the end.
    mutating func next() throws(SockDiagError) -> NetlinkMessage? {
        guard !rest.isEmpty else { return nil }
        let headerSize = MemoryLayout<nlmsghdr>.size
        guard rest.count >= headerSize else { throw .cutMessage }
        let header = rest.loadUnaligned(as: nlmsghdr.self)
        let length = Int(header.nlmsg_len)
        guard length >= headerSize, length <= rest.count else { throw .cutMessage }
        let message = NetlinkMessage(
            type: header.nlmsg_type, flags: header.nlmsg_flags, sequence: header.nlmsg_seq,
            payload: UnsafeRawBufferPointer(rebasing: rest[headerSize..<length]))
        rest = UnsafeRawBufferPointer(rebasing: rest[min(rest.count, netlinkAligned(length))...])
        return message
    }
}

/// Walks the attributes behind a message's fixed part; an unknown type is the caller's to skip.
struct NetlinkAttributes {
    private var rest: UnsafeRawBufferPointer

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    mutating func next() throws(SockDiagError) -> (type: UInt16, payload: UnsafeRawBufferPointer)? {
        guard !rest.isEmpty else { return nil }
        let headerSize = MemoryLayout<nlattr>.size
        guard rest.count >= headerSize else { throw .cutMessage }
        let header = rest.loadUnaligned(as: nlattr.self)
        let length = Int(header.nla_len)
        guard length >= headerSize, length <= rest.count else { throw .cutMessage }
        let payload = UnsafeRawBufferPointer(rebasing: rest[headerSize..<length])
        rest = UnsafeRawBufferPointer(rebasing: rest[min(rest.count, netlinkAligned(length))...])
        return (header.nla_type & ~UInt16(NLA_F_NESTED), payload)
    }
}

/// NLMSG_ALIGN and NLA_ALIGN: up to the next multiple of 4.
private func netlinkAligned(_ length: Int) -> Int { (length + 3) & ~3 }
