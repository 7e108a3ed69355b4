internal import CNetlink
internal import Glibc
internal import ListenTable
internal import SockDiag
internal import Sockets

/// Hints from the kernel's multicast of destroyed sockets (sock_diag, Linux 4.5): closes only, of this network
/// namespace only. A socket filter drops connections, which have a peer port, before they reach us.
final class DestroySource: HintSource {
    let push = PushLevel.destroy
    private let socket: NetlinkSocket
    private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8 << 10, alignment: 8)

    init() throws(HintSourceLost) {
        do {
            let groups = [SKNLGRP_INET_TCP_DESTROY.rawValue, SKNLGRP_INET6_TCP_DESTROY.rawValue]
            socket = try NetlinkSocket(bus: NETLINK_SOCK_DIAG, groups: groups, timeout: nil)
            _ = try SystemError.check(
                "socket filter", cnetlink_keep_unconnected(socket.descriptor))
        } catch {
            throw HintSourceLost(description: "destroy multicast: \(error)")
        }
    }

    deinit { buffer.deallocate() }

    var descriptors: [Int32] { [socket.descriptor] }

    func drain(into batch: inout HintBatch) throws(HintSourceLost) {
        while true {
            do {
                let count = try socket.receive(into: buffer)
                let datagram = UnsafeRawBufferPointer(rebasing: buffer[..<count])
                for row in DiagReply.destroyed(datagram) {
                    batch.hints.append(
                        ListenHint(kind: .closed, address: row.address, port: row.port, time: .now))
                }
            } catch {
                switch error.code {
                case EAGAIN: return
                case ENOBUFS, ENOSPC: batch.lost = true
                default: throw HintSourceLost(description: "destroy multicast: \(error)")
                }
            }
        }
    }

    func refresh() throws(HintSourceLost) -> Bool { false }
}
