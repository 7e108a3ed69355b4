import Foundation
import Glibc
import ListenTable
import ProcNet
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
        let root = FileManager.default.temporaryDirectory.appending(path: "procnet-\(UUID())")
        defer { try? FileManager.default.removeItem(at: root) }
        try FileManager.default.createDirectory(
            at: root.appending(path: "net/tcp"), withIntermediateDirectories: true)
        #expect(throws: ProcNetError.unreadable(path: "\(root.path)/net/tcp", code: EISDIR)) {
            try ProcNetReader(root: root.path).listeners()
        }
    }

    @Test("The machine's own table can be read")
    func live() throws {
        _ = try ProcNetReader().listeners()
    }
}
