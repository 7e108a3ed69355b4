internal import CLinux
internal import Glibc

/// Buffer sizes of a vsock socket.
package enum VsockBuffers {
    /// Bytes; the kernel's default is 256 KiB, and the sender is capped at the smaller of both ends.
    package static let size: UInt64 = 1 << 20

    /// How often to call `tellPeer` where nothing else shows in time that the guest has lost a connection.
    package static let checkInterval = Duration.seconds(10)

    /// Raises both limits; the maximum goes first because it caps the size. A kernel that refuses keeps its own.
    package static func enlarge(_ fd: Int32) {
        for option in [SO_VM_SOCKETS_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_SIZE] {
            set(fd, option, size)
        }
    }

    /// Has the guest's kernel reset a connection that it has lost without a word, as it does in the guest's sleep: a larger
    /// buffer is told to the other end, and an end that knows no such connection answers with a reset. One that is well is
    /// a byte larger now (vsock_update_buffer_size, net/vmw_vsock/af_vsock.c; virtio_transport_notify_buffer_size and
    /// virtio_transport_recv_pkt, net/vmw_vsock/virtio_transport_common.c).
    package static func tellPeer(_ fd: Int32) {
        var size: UInt64 = 0
        var length = socklen_t(MemoryLayout<UInt64>.size)
        guard getsockopt(fd, AF_VSOCK, Int32(SO_VM_SOCKETS_BUFFER_SIZE), &size, &length) == 0 else { return }
        // Never a smaller one: what is on its way must still fit.
        for option in [SO_VM_SOCKETS_BUFFER_MAX_SIZE, SO_VM_SOCKETS_BUFFER_SIZE] { set(fd, option, size + 1) }
    }

    private static func set(_ fd: Int32, _ option: Int32, _ bytes: UInt64) {
        try? StreamSocket.setOption(fd, AF_VSOCK, option, bytes, "vsock buffer size")
    }
}
