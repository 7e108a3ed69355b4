/// A listening socket as one snapshot showed it, with the inode that ties it to a process's descriptors.
package struct ObservedListener: Hashable, Sendable {
    package var socket: ListeningSocket
    /// The socket's inode number, as in `/proc/PID/fd`; 0 when no process can hold it.
    package var inode: UInt64

    package init(socket: ListeningSocket, inode: UInt64) {
        self.socket = socket
        self.inode = inode
    }
}
