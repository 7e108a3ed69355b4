import CLinux
import Glibc
import Testing

@testable import Linux

@Suite("Stream sockets")
struct StreamSocketTests {
    /// The socket is never connected: no machine need be there. A kernel without vsock has no such socket.
    @Test("A connect over vsock has a limit of its own, and a kernel without vsock says so")
    func vsockConnectTimeout() throws {
        let address = SocketAddress.vsock(cid: 3, port: 2222)
        let fresh: OwnedDescriptor
        do throws(SystemError) {
            fresh = try StreamSocket.open(for: address)
        } catch {
            #expect(error.code == EAFNOSUPPORT)
            return
        }
        let prepared = try StreamSocket.prepare(for: address)
        #expect(try Self.connectTimeout(fresh.rawValue) == 2)
        #expect(try Self.connectTimeout(prepared.rawValue) == 3)
    }

    /// SO_VM_SOCKETS_CONNECT_TIMEOUT, in seconds (vsock(7)).
    private static func connectTimeout(_ fd: Int32) throws(SystemError) -> Int {
        var limit = timeval()
        var size = socklen_t(MemoryLayout<timeval>.size)
        _ = try SystemError.check(
            "getsockopt",
            getsockopt(fd, AF_VSOCK, Int32(SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD), &limit, &size))
        return limit.tv_sec
    }
}
