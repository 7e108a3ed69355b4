internal import CNetlink
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
        return try SockDiagSnapshotter().queuedListeners(in: range)
    }

    /// Reads one message of a dump; nil for a socket that does not listen.
    init?(_ payload: UnsafeRawBufferPointer) throws(SockDiagError) {
        guard let row = try DiagReply.row(payload) else { return nil }
        observed = row
        // For a listener these two are the accept queue and its limit (tcp_diag_get_info, net/ipv4/tcp_diag.c).
        let message = payload.loadUnaligned(as: inet_diag_msg.self)
        waiting = message.idiag_rqueue
        limit = message.idiag_wqueue
    }
}
