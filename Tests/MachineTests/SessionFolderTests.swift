import Foundation
import Glibc
import TestSupport
import Testing

@testable import Machine

@Suite("The folder of a user's libvirt daemon")
struct SessionFolderTests {
    @Test(
        "Where no log-in has told the folder, it is the one that this user's log-ins share, if there is one")
    func missing() throws {
        let folders = try TestFolder()
        #expect(SessionFolder.missing(nil, in: folders.path) == nil)

        let own = folders.path + "/\(geteuid())"
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: false)
        #expect(chmod(own, 0o700) == 0)
        #expect(SessionFolder.missing(nil, in: folders.path) == own)
        #expect(SessionFolder.missing("", in: folders.path) == own)
        #expect(SessionFolder.missing("/run/other", in: folders.path) == nil)

        #expect(chmod(own, 0o777) == 0)
        #expect(SessionFolder.missing(nil, in: folders.path) == nil, "others may change what is in it")
    }
}
