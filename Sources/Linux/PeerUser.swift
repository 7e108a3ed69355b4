internal import CLinux
internal import Glibc

/// Who is at the other end of a unix socket.
package enum PeerUser {
    /// Whether it is this process's user or root, by the user that the peer had when it connected (SO_PEERCRED, unix(7)). False
    /// when the kernel does not tell.
    package static func isMineOrRoot(_ socket: Int32) -> Bool {
        var user = uid_t()
        return clinux_peer_user(socket, &user) == 0 && (user == geteuid() || user == 0)
    }
}
