/// States of a TCP socket, by the numbers that the kernel tells in /proc and in events (include/net/tcp_states.h).
package enum TCPState: UInt8, Sendable {
    /// A half-open connection: its handshake is not complete.
    case synReceived = 3
    case close = 7
    case listen = 10
}
