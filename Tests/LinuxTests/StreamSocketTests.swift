import CLinux
import Glibc
import Testing

@testable import Linux

@Suite("Stream sockets")
struct StreamSocketTests {
    private static let hasVsock = access("/dev/vsock", F_OK) == 0

    /// The socket is never connected: no machine need be there.
    @Test("A connect over vsock has a limit of its own", .enabled(if: hasVsock, "needs vsock"))
    func vsockConnectTimeout() throws {
        let fresh = try StreamSocket.open(for: .vsock(cid: 3, port: 2222))
        let prepared = try StreamSocket.prepare(for: .vsock(cid: 3, port: 2222))
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
