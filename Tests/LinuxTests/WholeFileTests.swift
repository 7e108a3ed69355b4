import Foundation
import Glibc
import Linux
import TestSupport
import Testing

@Suite("Files that are written whole")
struct WholeFileTests {
    @Test("A file is written whole, and replaced only when that is wanted")
    func replacing() throws {
        let folder = try TestFolder()
        let path = folder.path + "/file"
        try WholeFile.write("one".utf8, to: path, replaces: false)
        #expect(throws: SystemError(code: EEXIST, operation: "link")) {
            try WholeFile.write("two".utf8, to: path, replaces: false)
        }
        #expect(try SmallFile.text(of: path) == "one")
        try WholeFile.write("two".utf8, to: path)
        #expect(try SmallFile.text(of: path) == "two")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["file"])
    }

    @Test("What can't be prepared leaves the file as it was, and nothing beside it")
    func failing() throws {
        let folder = try TestFolder()
        let path = folder.path + "/file"
        try WholeFile.write("one".utf8, to: path)
        let refusal = SystemError(code: EPERM, operation: "fchown")
        #expect(throws: refusal) {
            try WholeFile.write("two".utf8, to: path) { _ throws(SystemError) in throw refusal }
        }
        #expect(try SmallFile.text(of: path) == "one")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["file"])
    }

    @Test("What a writer that was killed has left goes with the next write, and a living one's stays")
    func leftovers() throws {
        let folder = try TestFolder()
        let path = folder.path + "/file"
        // More than the kernel gives out (proc(5), pid_max).
        _ = try folder.file("file.\(Int32.max).new")
        let others = [
            "file.\(getppid()).new", "file.new", "file.x.new", "file.0.new", "other.\(Int32.max).new",
        ]
        for name in others { _ = try folder.file(name) }
        try WholeFile.write("one".utf8, to: path)
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
                == (others + ["file"]).sorted())
    }
}
