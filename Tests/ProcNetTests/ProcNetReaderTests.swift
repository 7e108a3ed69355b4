import Glibc
import Linux
import Ports
import ProcNet
import TestSupport
import Testing

@Suite("A proc root that is not what it should be")
struct ProcNetReaderTests {
    @Test("A root without net/tcp is an error that names the file")
    func missing() {
        #expect(throws: ProcNetError.unreadable(path: "/nonexistent/net/tcp", code: ENOENT)) {
            try ProcNetReader(root: "/nonexistent").listeners()
        }
    }

    @Test("A root with tcp6 alone is an error: no kernel has IPv6 without IPv4")
    func onlyV6() throws {
        let folder = try TestFolder()
        _ = try folder.folder("net")
        _ = try folder.file("net/tcp6", "  sl  local_address\n")
        #expect(throws: ProcNetError.unreadable(path: "\(folder.path)/net/tcp", code: ENOENT)) {
            try ProcNetReader(root: folder.path).listeners()
        }
    }

    @Test("A net/tcp that can't be read is an error, not an empty table")
    func directory() throws {
        let folder = try TestFolder()
        let file = try folder.folder("net/tcp")
        #expect(throws: ProcNetError.unreadable(path: file, code: EISDIR)) {
            try ProcNetReader(root: folder.path).listeners()
        }
    }

    @Test("The machine's own table has a port on which this process listens")
    func live() throws {
        let listener = try StreamSocket.listen(on: .tcp(.loopbackV4, port: 0))
        guard case .tcp(let address, let number, _) = try StreamSocket.localAddress(listener.rawValue) else {
            preconditionFailure("a TCP listener has such an address")
        }
        let found = try ProcNetReader().listeners().map(\.socket)
        #expect(found.contains { $0.address == address && $0.port.rawValue == number })
    }
}
