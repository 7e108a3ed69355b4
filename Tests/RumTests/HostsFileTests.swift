import TestSupport
import Testing

@testable import rum

@Suite("The block of lines in a hosts file")
struct HostsFileTests {
    private static let mine =
        "# rum: machines of user 1000\n127.65.1.2\tdev.localhost\n# rum: end of user 1000\n"
    private static let lines = ["127.65.1.2\tdev.localhost"]

    private func change(_ text: String, _ lines: [String] = Self.lines, of user: UInt32 = 1000) throws
        -> String
    {
        String(decoding: try HostsFile(Array(text.utf8)).with(lines, of: user), as: UTF8.self)
    }

    @Test(
        "It comes to the end, and goes without a trace",
        arguments: ["127.0.0.1 localhost\n", "", "\n", "# a\n\n127.0.0.1 localhost\n\n"])
    func added(text: String) throws {
        let changed = try change(text)
        #expect(changed == text + Self.mine)
        #expect(try change(changed, []) == text)
        #expect(try change(changed) == changed)
    }

    @Test("A last line without its end gets one") func unended() throws {
        #expect(try change("127.0.0.1 localhost") == "127.0.0.1 localhost\n" + Self.mine)
    }

    @Test("It is replaced in its place, and others' blocks stay") func replaced() throws {
        let other = Self.mine.replacing("1000", with: "1001")
        let text = "127.0.0.1 localhost\n" + Self.mine + "::1 localhost\n" + other
        let changed = try change(text, ["127.0.0.1\ta.localhost"])
        #expect(changed == text.replacing("127.65.1.2\tdev", with: "127.0.0.1\ta", maxReplacements: 1))
        #expect(try change(text, []) == "127.0.0.1 localhost\n::1 localhost\n" + other)
    }

    @Test("Bytes that are no text stay as they are") func bytes() throws {
        let bytes: [UInt8] = [0xff, 10, 0, 0xc3, 10]
        let changed = try HostsFile(bytes).with(Self.lines, of: 1000)
        #expect(Array(changed.prefix(5)) == bytes)
        #expect(try HostsFile(changed).with([], of: 1000) == bytes)
    }

    @Test(
        "A mark without its other one is not guessed about",
        arguments: [
            ("# rum: machines of user 1000\n127.0.0.1 localhost\n", 1), ("a\n# rum: end of user 1000\n", 2),
            (
                HostsFileTests.mine
                    + "# rum: machines of user 1000\n# rum: machines of user 1000\n# rum: end of user 1000\n",
                5
            ),
        ])
    func damaged(text: String, line: Int) {
        #expect(throws: HostsFile.Damaged(line: line)) { try change(text) }
    }

    @Test("Only loopback addresses with names under localhost are lines of rum")
    func ours() {
        for line in [
            "127.65.1.2\tdev.localhost", "::1 a.localhost b.c.localhost", "127.0.0.1  a_b.localhost",
        ] {
            #expect(HostsFile.isOurs(line), "\(line)")
        }
        for line in [
            "127.0.0.1 bank.example", "10.0.0.1 dev.localhost", "127.0.0.1", "", "# dev.localhost",
            "127.0.0.1 dev.localhost bank.example", "127.0.0.1 dev.localhost # x", "127.0.0.1 a\rb.localhost",
        ] {
            #expect(!HostsFile.isOurs(line), "\(line)")
        }
    }
}
