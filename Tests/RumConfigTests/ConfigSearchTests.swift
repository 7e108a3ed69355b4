import Glibc
import RumConfig
import TestSupport
import Testing

@Suite("Where rum.toml is looked for")
struct ConfigSearchTests {
    @Test("In the folder, then in those above it, the nearest first")
    func nearest() throws {
        let folder = try TestFolder()
        let deep = try folder.folder("a/b/c")
        #expect(MachineConfig.find(in: deep) == nil)
        let far = try folder.file("rum.toml")
        #expect(MachineConfig.find(in: deep) == far)
        let near = try folder.file("a/b/rum.toml")
        #expect(MachineConfig.find(in: deep) == near)
        #expect(MachineConfig.find(in: deep + "/") == near)
        #expect(MachineConfig.find(in: folder.path + "/a") == far)
    }

    @Test("One that links to nothing is found, so that it is told, and not one above it")
    func brokenLink() throws {
        let folder = try TestFolder()
        _ = try folder.file("rum.toml")
        let near = try folder.folder("a") + "/rum.toml"
        #expect(symlink("nowhere", near) == 0)
        #expect(MachineConfig.find(in: folder.path + "/a") == near)
        let error = #expect(throws: ConfigErrors.self) { try MachineConfig.load(path: near) }
        #expect(error?.description.contains("cannot be read: No such file or directory") == true)
    }
}
