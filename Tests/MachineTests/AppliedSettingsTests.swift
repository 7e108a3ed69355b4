import RumConfig
import Testing

@testable import Machine

@Suite("A changed configuration")
struct AppliedSettingsTests {
    private static let base = """
        [image]
        base = "https://me:secret@example.org/a.img"
        [ssh]
        authorized_keys = ["ssh-ed25519 AAAA me@here"]
        [[ports]]
        host = 8080
        guest = 80
        """

    private func settings(_ text: String) throws -> AppliedSettings {
        AppliedSettings(try MachineConfig.parse(text, file: "/w/app/rum.toml"))
    }

    @Test(
        "Each change is told in one line, with when it takes effect",
        arguments: [
            (
                "[resources]\ncpus = 4",
                "resources.cpus has changed from 2 to 4: takes effect at the next start (`rum down`, `rum up`)"
            ),
            (
                "[resources]\nmemory_mb = 512",
                "resources.memory_mb has changed from 2048 to 512: takes effect at the next start (`rum down`, `rum up`)"
            ),
            (
                "[resources]\ndisk = \"30G\"",
                "resources.disk has changed from 20G to 30G: takes effect at the next start (`rum down`, `rum up`)"
            ),
            (
                "[resources]\ndisk = \"10G\"",
                "resources.disk has changed from 20G to 10G: needs a fresh disk (`rum up --reset`)"
            ),
            (
                "[[mounts]]\nhost = \".\"\nguest = \"/work\"",
                "mounts has changed: takes effect at the next start (`rum down`, `rum up`)"
            ),
            (
                "[boot]\nfirmware = \"efi\"",
                "boot.firmware has changed from auto to efi: takes effect at the next start (`rum down`, `rum up`)"
            ),
            (
                "[provision]\non_failure = \"stop\"",
                "provision.on_failure has changed from continue to stop: applied"
            ),
            ("[auto_ports]\nrange = \"5000-6000\"", "auto_ports has changed: applied"),
            (
                "[provision.system]\nscript = \"true\"",
                "provision.system.script has changed: run at a start until one has succeeded on this disk; then it needs a fresh disk (`rum up --reset`)"
            ),
            (
                "[provision.boot]\nscript = \"true\"",
                "provision.boot.script has changed: takes effect at the next start (`rum down`, `rum up`)"
            ),
            (
                "[boot]\nkernel = \"/k\"",
                "boot.kernel has changed from none to /k: takes effect at the next start (`rum down`, `rum up`)"
            ),
            (
                "[advanced]\nchannel = \"tcp\"",
                "advanced.channel has changed from auto to tcp: takes effect at the next start (`rum down`, `rum up`)"
            ),
        ])
    func told(more: String, expected: String) throws {
        let changes = try settings(Self.base).changes(to: try settings(Self.base + "\n" + more))
        #expect(changes.map { $0.sentence(wasStarted: false) }.contains(expected))
    }

    @Test(
        "What another process forwards by, and goes on with, is not told as applied",
        arguments: [
            (.background, "takes effect when its ports are forwarded anew (`rum up -d`)"),
            (.terminal, "takes effect when the other `rum up` is ended and started again"),
            (.changing, "applied"),
        ] as [(PortForwarder, String)])
    func forwarded(forwarder: PortForwarder, expected: String) throws {
        let changes = try settings(Self.base).changes(
            to: try settings(Self.base + "\n[auto_ports]\nrange = \"5000-6000\""))
        #expect(
            changes.map { $0.sentence(wasStarted: false, forwarder: forwarder) } == [
                "auto_ports has changed: \(expected)"
            ])
    }

    @Test("Image and first script need a fresh disk, and the URL's secrets are told nobody")
    func reset() throws {
        let old = try settings(Self.base)
        let new = try settings(
            "[image]\nbase = \"https://you:other@example.org/b.img\"\n[ssh]\nuser = \"me\"\n")
        let changes = old.changes(to: new)
        #expect(
            changes.filter { $0.moment == .reset }.map(\.key) == ["image.base"])
        #expect(
            changes.filter { $0.moment == .start }.map(\.key) == ["ssh.authorized_keys", "ssh.user"])
        for text in ["\(changes)", "\(old)"] {
            #expect(!text.contains("secret") && !text.contains("other@"))
        }
    }

    @Test("What took effect is not told again, and what did not is")
    func applied() throws {
        var applied = try settings(Self.base)
        let wanted = try settings(
            Self.base.replacing("AAAA", with: "BBBB").replacing("8080", with: "8081")
                + "\n[resources]\ncpus = 4\ndisk = \"10G\"")
        applied.apply(wanted, at: [.now])
        #expect(
            applied.changes(to: wanted).map(\.key) == [
                "resources.cpus", "resources.disk", "ssh.authorized_keys",
            ])
        applied.apply(wanted, at: [.now, .start])
        #expect(applied.changes(to: wanted).map(\.key) == ["resources.disk"])
        #expect(wanted.changes(to: wanted).isEmpty)
    }
}
