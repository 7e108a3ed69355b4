import Testing

@testable import Machine

@Suite("What the guest's console tells")
struct ConsoleReaderTests {
    private func news(_ text: String, pause: Bool = true) -> [ConsoleNews] {
        var reader = ConsoleReader()
        return reader.read(Array(text.utf8)) + (pause ? reader.pause() : [])
    }

    @Test(
        "Each sign is found, whatever else is on its line",
        arguments: [
            ("rum-install: begins\r\nrum-install: done\r\n", [ConsoleNews.seedFound, .installed]),
            (
                "[   9.1] x: rum-install: failed at \"tar -xzf a\": No space left on device\n",
                [.installFailed("failed at \"tar -xzf a\": No space left on device")]
            ),
            (
                "rum-install: warning: the folder /w is not mounted: x\n",
                [.warning("the folder /w is not mounted: x")]
            ),
            ("rum-install: no vsock\n", [.noVsock]),
            ("\nDebian GNU/Linux 12 dev ttyS0\n\ndev login: ", [.noCloudInit]),
            ("rum-install: done\ndev login: ", [.installed]),
            ("[    3.1] Kernel panic - not syncing: VFS: Unable to mount root fs\n", [.panic]),
            ("No bootable device.\n", [.notBootable]),
            ("BdsDxe: No bootable option or device was found.\n", [.notBootable]),
            ("[   12.0] ignition[612]: Ignition 2.14\n", [.ignition]),
            ("You are in emergency mode. After logging in\n", [.emergency]),
            ("ALERT!  LABEL=x does not exist.  Dropping to a shell!\n(initramfs) ", [.emergency]),
            ("last login: never\n", []), ("login: ", [.noCloudInit]),
        ])
    func signs(text: String, expected: [ConsoleNews]) {
        #expect(news(text) == expected)
    }

    @Test("News comes once, in pieces of any size, and hostile bytes are bounded")
    func pieces() {
        var reader = ConsoleReader()
        var found: [ConsoleNews] = []
        for byte in Array("rum-install: begins\nrum-install: begins\n".utf8) { found += reader.read([byte]) }
        #expect(found == [.seedFound])
        #expect(reader.read([UInt8](repeating: 0xff, count: 1 << 20)).isEmpty)
        for number in 0..<1000 { found += reader.read(Array("\nrum-install: warning: \(number)\n".utf8)) }
        #expect(found.count <= 65)
    }

    @Test("What ends a start has a sentence with what to do, and what goes well has none")
    func sentences() {
        for news in [
            ConsoleNews.noCloudInit, .ignition, .notBootable, .installFailed("x"), .panic, .emergency,
        ] {
            #expect(news.sentence(domain: "rum-dev", virsh: "virsh") != nil)
        }
        #expect(
            ConsoleNews.noCloudInit.sentence(domain: "rum-dev", virsh: "virsh -c x")?
                .contains("virsh -c x console rum-dev") == true)
        #expect(ConsoleNews.installed.sentence(domain: "d", virsh: "virsh") == nil)
    }
}
