import RumConfig
import TestSupport
import Testing

@Suite("A name made of folder, branch and worktree")
struct NameTemplateTests {
    /// A repository in the folder `shop`, on a branch with characters that a name can't have, and a linked worktree.
    private static func repository() throws -> TestFolder {
        let folder = try TestFolder()
        _ = try folder.file("shop/.git/HEAD", "ref: refs/heads/feature/über-cart\n")
        _ = try folder.file("shop/.git/worktrees/fix/HEAD", "ref: refs/heads/fix\n")
        _ = try folder.file("trees/fix-1/.git", "gitdir: \(folder.path)/shop/.git/worktrees/fix\n")
        _ = try folder.file("trees/near/.git", "gitdir: ../../shop/.git/worktrees/fix\n")
        _ = try folder.folder("shop/env")
        return folder
    }

    private static func name(_ template: String, _ file: String) throws -> String {
        try MachineConfig.parse("name = \"\(template)\"\nimage.base = \"/i.qcow2\"", file: file).name
    }

    @Test(
        "The words are filled in",
        arguments: [
            ("{dir}", "shop/env", "env"), ("{worktree}", "shop/env", "shop"),
            ("{branch}", "shop", "feature--ber-cart"), ("{dir}-{branch}", "trees/fix-1", "fix-1-fix"),
            ("{branch}", "trees/near", "fix"), ("vm", "shop", "vm"),
        ])
    func fill(template: String, place: String, expected: String) throws {
        let folder = try Self.repository()
        #expect(try Self.name(template, "\(folder.path)/\(place)/rum.toml") == expected)
    }

    @Test("Without a branch the commit stands for it")
    func detached() throws {
        let folder = try TestFolder()
        _ = try folder.file("a/.git/HEAD", "0123456789abcdef0123456789abcdef01234567\n")
        #expect(try Self.name("{branch}", "\(folder.path)/a/rum.toml") == "01234567")
    }

    @Test("Long branches that begin alike stay two machines")
    func long() throws {
        let folder = try TestFolder()
        let stem = String(repeating: "x", count: 60)
        var names: Set<String> = []
        for end in ["a", "b"] {
            _ = try folder.file("a/.git/HEAD", "ref: refs/heads/\(stem)\(end)\n")
            names.insert(try Self.name("{branch}", "\(folder.path)/a/rum.toml"))
        }
        #expect(names.count == 2)
        #expect(names.allSatisfy { $0.count <= 40 && $0.hasPrefix("xxxxxxxxxxxxxxxxxxxx") })
    }

    @Test(
        "What has no value is said",
        arguments: [
            ("{brunch}", "unknown {brunch}; expected {dir}, {branch}, {worktree} or text"),
            ("a{dir", "a brace without the other; expected {dir}, {branch}, {worktree} or text"),
            ("a}", "a brace without the other; expected {dir}, {branch}, {worktree} or text"),
            ("{branch}", "{branch} has no value, since FOLDER is in no git worktree"),
        ])
    func problem(template: String, message: String) throws {
        let folder = try TestFolder()
        let errors = #expect(throws: ConfigErrors.self) {
            try Self.name(template, "\(folder.path)/rum.toml")
        }
        let expected =
            "\(folder.path)/rum.toml:1: name: "
            + message.replacing("FOLDER", with: folder.path)
        #expect(errors?.description == expected)
    }

    @Test("A HEAD that is no file of git's says so, and hangs nothing")
    func oddHead() throws {
        let folder = try TestFolder()
        for head in ["ref: refs/heads/.invalid\n", "", "deadbeef\n", String(repeating: "a", count: 9000)] {
            _ = try folder.file("a/.git/HEAD", head)
            let errors = #expect(throws: ConfigErrors.self) {
                try Self.name("{branch}", "\(folder.path)/a/rum.toml")
            }
            #expect(
                errors?.description.contains("git's HEAD in \(folder.path)/a/.git cannot be read") == true)
        }
    }
}
