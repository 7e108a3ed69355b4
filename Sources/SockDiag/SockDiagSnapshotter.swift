internal import CNetlink
internal import Glibc
package import Linux
package import Ports

/// Asks the kernel which TCP sockets listen, over one long-lived NETLINK_SOCK_DIAG socket.
///
/// The answers concern the network namespace of the thread that made the snapshotter. One question at a time;
/// the caller serialises. No question waits: the kernel answers while it takes the question.
package final class SockDiagSnapshotter {
    /// The kernel fills dump datagrams up to this size and no further (netlink_dump, net/netlink/af_netlink.c).
    private static let bufferSize = 32 << 10

    private let connect: () -> Result<any NetlinkTransport, SystemError>
    private var transport: (any NetlinkTransport)?
    private var sequence: UInt32 = 0
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferSize, alignment: 8)

    /// Opens the socket; the kernel's TCP part is only asked for by the first question.
    package convenience init() throws(SockDiagError) {
        try self.init {
            Result { () throws(SystemError) in try NetlinkSocket(bus: NETLINK_SOCK_DIAG) }
        }
    }

    /// Opens the first transport now, and another whenever an answer had to be abandoned.
    package init(
        connect: @escaping () -> Result<any NetlinkTransport, SystemError>
    ) throws(SockDiagError) {
        self.connect = connect
        _ = try openTransport()
    }

    deinit { buffer.deallocate() }

    /// Every listener whose port lies in `range`, in the kernel's order; REUSEPORT sockets are several rows.
    package func listeners(in range: PortRange = .all) throws(SockDiagError) -> [ObservedListener] {
        try dump(of: range).listeners
    }

    /// The same, and whether some may be missing.
    package func dump(of range: PortRange) throws(SockDiagError) -> ListenerDump {
        do {
            return try ask(.listeners(range), Self.rows)
        } catch .failed(let error) {
            throw Self.classified(error)
        }
    }

    /// The same with their accept queues.
    func queuedListeners(in range: PortRange) throws(SockDiagError) -> [QueuedListener] {
        try ask(.listeners(range)) { (next, sequence) throws(SockDiagError) in
            var rows: [QueuedListener] = []
            var progress = DiagReply.Progress.more
            while progress == .more {
                progress = try DiagReply.walk(next(), sequence: sequence) { payload throws(SockDiagError) in
                    if let row = try QueuedListener(payload) { rows.append(row) }
                }
            }
            return rows
        }
    }

    /// Who would take a connection to `address` and `port` arriving on an interface (1 is lo, 0 leaves out sockets
    /// bound to a device).
    ///
    /// An error that the kernel answers with, such as that of a missing address family, is an answer and not thrown.
    package func lookUp(
        _ address: IPAddress, port: PortNumber, interfaceIndex: UInt32
    ) throws(SockDiagError) -> PortOwner {
        try ask(.owner(address, port, interfaceIndex: interfaceIndex), Self.owner)
    }

    /// Reads an answer: takes the next datagram and how the question was numbered.
    private typealias Reader<Answer> = (
        _ next: () throws(SockDiagError) -> UnsafeRawBufferPointer, _ sequence: UInt32
    ) throws(SockDiagError) -> Answer

    private static func rows(
        _ next: () throws(SockDiagError) -> UnsafeRawBufferPointer, _ sequence: UInt32
    ) throws(SockDiagError) -> ListenerDump {
        var rows: [ObservedListener] = []
        var pieces = 0
        var progress = DiagReply.Progress.more
        while progress == .more {
            let before = rows.count
            progress = try DiagReply.decode(next(), sequence: sequence, into: &rows)
            if rows.count > before { pieces += 1 }
        }
        return ListenerDump(listeners: rows, mayMissSome: pieces > 1)
    }

    private static func owner(
        _ next: () throws(SockDiagError) -> UnsafeRawBufferPointer, _ sequence: UInt32
    ) throws(SockDiagError) -> PortOwner {
        while true {
            if let owner = try DiagReply.owner(next(), sequence: sequence) { return owner }
        }
    }

    /// Asks, and once more on a fresh socket when part of the answer was dropped: that one has its whole buffer.
    private func ask<Answer>(
        _ request: DiagRequest, _ read: Reader<Answer>
    ) throws(SockDiagError) -> Answer {
        do {
            return try exchange(request, read)
        } catch .overrun {
            return try exchange(request, read)
        }
    }

    private func exchange<Answer>(
        _ request: DiagRequest, _ read: Reader<Answer>
    ) throws(SockDiagError) -> Answer {
        let transport = try openTransport()
        sequence &+= 1
        do throws(SockDiagError) {
            try send(request, over: transport)
            return try read({ () throws(SockDiagError) in try self.datagram(from: transport) }, sequence)
        } catch {
            // An answer that ended with an error ended in order. Of any other the rest would come before the next.
            if case .failed = error {} else { self.transport = nil }
            throw error
        }
    }

    private func send(_ request: DiagRequest, over transport: any NetlinkTransport) throws(SockDiagError) {
        do throws(SystemError) {
            try transport.send(request.bytes(sequence: sequence))
        } catch {
            throw Self.translated(error)
        }
    }

    private func datagram(
        from transport: any NetlinkTransport
    ) throws(SockDiagError) -> UnsafeRawBufferPointer {
        do throws(SystemError) {
            return UnsafeRawBufferPointer(rebasing: buffer[..<(try transport.receive(into: buffer))])
        } catch {
            throw Self.translated(error)
        }
    }

    private func openTransport() throws(SockDiagError) -> any NetlinkTransport {
        if let transport { return transport }
        do throws(SystemError) {
            let opened = try connect().get()
            transport = opened
            return opened
        } catch {
            throw Self.translated(error)
        }
    }

    /// An error of the socket itself. A shortage passes; what else goes wrong stays.
    private static func translated(_ error: SystemError) -> SockDiagError {
        switch error.code {
        case ENOBUFS: .overrun
        case ENOSPC: .cutMessage
        case EAGAIN: .unanswered
        default: error.isExhaustion ? .failed(error) : .unavailable(error)
        }
    }

    /// A dump that the kernel knows no handler for: inet_diag or tcp_diag is missing, or forbidden.
    private static func classified(_ error: SystemError) -> SockDiagError {
        switch error.code {
        case ENOENT, EOPNOTSUPP, EINVAL, EPERM, EACCES: .unavailable(error)
        default: .failed(error)
        }
    }
}
