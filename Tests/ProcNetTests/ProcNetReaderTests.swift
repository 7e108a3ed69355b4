import Glibc
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

    @Test("A net/tcp that can't be read is an error, not an empty table")
    func directory() throws {
        let folder = try TestFolder()
        let file = try folder.folder("net/tcp")
        #expect(throws: ProcNetError.unreadable(path: file, code: EISDIR)) {
            try ProcNetReader(root: folder.path).listeners()
        }
    }

    @Test("The machine's own table can be read")
    func live() throws {
        _ = try ProcNetReader().listeners()
    }
}
