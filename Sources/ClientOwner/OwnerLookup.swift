internal import Glibc
package import Linux
internal import Synchronization

/// Asks the kernel whose the clients of connections within this host are. It needs no privilege.
///
/// A look-up is one sendto(2) and one recv(2), some 3 µs together, and never waits: the kernel puts its answer into the
/// socket's queue before sendto(2) returns (netlink_unicast_kernel, net/netlink/af_netlink.c).
package final class OwnerLookup: Sendable {
    private struct State: ~Copyable {
        let socket: OwnedDescriptor
        var sequence: UInt32 = 0
    }

    private let state: Mutex<State>

    /// Opens it in the network namespace of the calling thread, and tries it on a connection to itself.
    ///
    /// - Throws: when this kernel does not tell, as one without inet_diag.
    package init() throws(SystemError) {
        let kind = Int32(SOCK_RAW.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        let number = try SystemError.check("netlink socket", socket(AF_NETLINK, kind, OwnerMessages.bus))
        state = Mutex(State(socket: OwnedDescriptor(owning: number)))
        let listener = try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0), backlog: 1)
        let server = try StreamSocket.localAddress(listener.rawValue)
        let client = try StreamSocket.connect(to: server)
        let found = try owner(of: StreamSocket.localAddress(client.rawValue), connectedTo: server)
        guard found == .user(geteuid()) else {
            throw SystemError(code: ENOTSUP, operation: "NETLINK_SOCK_DIAG")
        }
    }

    /// The owner of the socket that has the address `client` and is connected to `server`; both are this host's.
    package func owner(
        of client: SocketAddress, connectedTo server: SocketAddress
    ) throws(SystemError) -> SocketOwner {
        let result: Result<SocketOwner, SystemError> = state.withLock { state in
            do throws(SystemError) {
                return .success(try Self.ask(&state, client, server))
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    private static func ask(
        _ state: inout State, _ client: SocketAddress, _ server: SocketAddress
    ) throws(SystemError) -> SocketOwner {
        state.sequence &+= 1
        let (fd, sequence) = (state.socket.rawValue, state.sequence)
        guard let question = OwnerMessages.question(client: client, server: server, sequence: sequence) else {
            throw SystemError(code: EAFNOSUPPORT, operation: "NETLINK_SOCK_DIAG")
        }
        _ = try SystemError.check("netlink send", send(fd, question, question.count, 0))
        return try withUnsafeTemporaryAllocation(byteCount: 512, alignment: 8) { memory throws(SystemError) in
            // An earlier answer may be left over, of a question whose answer was not read.
            while true {
                let count = try SystemError.check(
                    "netlink receive", recv(fd, memory.baseAddress, memory.count, 0))
                let datagram = UnsafeRawBufferPointer(rebasing: memory[..<count])
                switch OwnerMessages.answer(datagram, client: client, server: server, sequence: sequence) {
                case .unrelated: continue
                case .owner(let owner): return owner
                case .failed(let code): throw SystemError(code: code, operation: "NETLINK_SOCK_DIAG")
                }
            }
        }
    }
}
