internal import CNetlink
internal import Glibc
package import Linux
package import Ports

/// A listener with the connections that wait to be accepted.
package struct QueuedListener: Hashable, Sendable {
    package var observed: ObservedListener
    package var waiting: UInt32
    /// The kernel takes no more connections when `waiting` is above this (sk_acceptq_is_full, include/net/sock.h).
    package var limit: UInt32

    /// Every socket that listens on `port` in the network namespace of the calling thread; REUSEPORT sockets are
    /// several. Does not wait. For a question now and then: it opens a netlink socket of its own.
    package static func all(on port: PortNumber) throws(SockDiagError) -> [QueuedListener] {
        guard let range = PortRange(port, port) else { return [] }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 32 << 10, alignment: 8)
        defer { buffer.deallocate() }
        do throws(SystemError) {
            let transport = try NetlinkSocket(bus: NETLINK_SOCK_DIAG)
            try transport.send(DiagRequest.listeners(range).bytes(sequence: 1))
            var rows: [QueuedListener] = []
            while true {
                let count = try transport.receive(into: buffer)
                let datagram = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                if try decode(datagram, into: &rows).get() { return rows }
            }
        } catch {
            throw .failed(error)
        }
    }

    /// Appends the listeners of one datagram; true when it ends the answer.
    package static func decode(
        _ datagram: UnsafeRawBufferPointer, into rows: inout [QueuedListener]
    ) -> Result<Bool, SystemError> {
        var messages = NetlinkMessages(datagram)
        do throws(SockDiagError) {
            while let message = try messages.next() {
                if let code = try message.errorCode() {
                    guard code == 0 else {
                        return .failure(SystemError(code: code, operation: "NETLINK_SOCK_DIAG"))
                    }
                    return .success(true)
                }
                guard let row = try DiagReply.row(message.payload) else { continue }
                // For a listener these two are the accept queue and its limit (tcp_diag_get_info, net/ipv4/tcp_diag.c).
                let diag = message.payload.loadUnaligned(as: inet_diag_msg.self)
                rows.append(
                    QueuedListener(observed: row, waiting: diag.idiag_rqueue, limit: diag.idiag_wqueue))
            }
            return .success(false)
        } catch {
            return .failure(SystemError(code: EBADMSG, operation: "NETLINK_SOCK_DIAG"))
        }
    }
}
