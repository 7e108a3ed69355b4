internal import CNetlink
internal import Glibc
package import Linux
package import Ports

/// Asks the kernel which TCP sockets listen, over one long-lived NETLINK_SOCK_DIAG socket.
///
/// The answers concern the network namespace of the thread that made the snapshotter. One question at a time;
/// the caller serialises. A question blocks for microseconds, and never longer than a second.
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
        do {
            return try ask(.listeners(range))
        } catch .overrun {
            // Part of the answer was dropped: a fresh socket has its whole buffer for the second try.
            return try ask(.listeners(range))
        }
    }

    /// The listener that would take a connection to `address` and `port` arriving on an interface (1 is lo, 0
    /// leaves out sockets bound to a device); nil when the kernel would refuse it.
    package func owner(
        of address: IPAddress, port: PortNumber, interfaceIndex: UInt32
    ) throws(SockDiagError) -> ObservedListener? {
        do {
            return try ask(.owner(address, port, interfaceIndex: interfaceIndex)).first
        } catch .failed(let error) where error.code == ENOENT {
            return nil
        }
    }

    private func ask(_ request: DiagRequest) throws(SockDiagError) -> [ObservedListener] {
        do {
            return try exchange(request)
        } catch .failed(let error) {
            // The answer ended in order, so the socket is clean.
            throw Self.classified(error, request)
        } catch {
            // What is left of the answer would come before the next one.
            transport = nil
            throw error
        }
    }

    private func exchange(_ request: DiagRequest) throws(SockDiagError) -> [ObservedListener] {
        let transport = try openTransport()
        sequence &+= 1
        do throws(SystemError) {
            try transport.send(request.bytes(sequence: sequence))
        } catch {
            throw Self.translated(error)
        }
        var rows: [ObservedListener] = []
        while true {
            let count: Int
            do throws(SystemError) {
                count = try transport.receive(into: buffer)
            } catch {
                throw Self.translated(error)
            }
            let datagram = UnsafeRawBufferPointer(rebasing: buffer[..<count])
            if try DiagReply.decode(datagram, sequence: sequence, into: &rows) == .done { return rows }
            // A look-up is answered by one message without a DONE behind it.
            if case .owner = request, !rows.isEmpty { return rows }
        }
    }

    private func openTransport() throws(SockDiagError) -> any NetlinkTransport {
        if let transport { return transport }
        do throws(SystemError) {
            let opened = try connect().get()
            transport = opened
            return opened
        } catch {
            throw .unavailable(error)
        }
    }

    private static func translated(_ error: SystemError) -> SockDiagError {
        switch error.code {
        case ENOBUFS: .overrun
        case ENOSPC: .cutMessage
        case EAGAIN: .timedOut
        default: .unavailable(error)
        }
    }

    /// A dump that the kernel knows no handler for: inet_diag or tcp_diag is missing, or forbidden.
    private static func classified(_ error: SystemError, _ request: DiagRequest) -> SockDiagError {
        guard case .listeners = request else { return .failed(error) }
        switch error.code {
        case ENOENT, EOPNOTSUPP, EINVAL, EPERM, EACCES: return .unavailable(error)
        default: return .failed(error)
        }
    }
}
