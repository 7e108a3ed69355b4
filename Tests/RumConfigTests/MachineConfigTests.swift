import Linux
import Ports
import RumConfig
import Testing

@Suite("A valid rum.toml")
struct RumConfigTests {
    @Test("Every key of the contract's sample arrives where it belongs")
    func everyKey() throws {
        let config = try MachineConfig.parse(fullSample, file: "/srv/app/rum.toml")
        #expect(config.name == "dev")
        #expect(config.image?.base == .url("https://example.org/cloud.img"))
        #expect(config.image?.sha256 == String(repeating: "0123456789abcdef", count: 4))
        #expect(
            config.boot
                == MachineConfig.Boot(
                    kernel: "/srv/app/vmlinuz", initrd: "/srv/app/boot/initrd.img",
                    commandLine: "root=/dev/vda rw"))
        #expect(config.resources.cpus == 4)
        #expect(config.resources.memoryMB == 1024)
        #expect(config.resources.disk == ByteSize(text: "10G"))
        #expect(config.ports.map(\.host) == [PortNumber(8080), PortNumber(8443)])
        #expect(config.ports.map(\.guest) == [PortNumber(80), PortNumber(443)])
        #expect(config.ports.map(\.bind.addresses) == [[.anyV4], [.loopbackV4]])
        #expect(config.ports.map(\.allow) == [.host, .me])
        let autoPorts = try #require(config.autoPorts)
        #expect(autoPorts.range == PortRange(text: "5000-6000"))
        #expect(autoPorts.allow == .host)
        #expect(autoPorts.bind.addresses == [.loopbackV4, .loopbackV6])
        #expect(autoPorts.max == 2000)
        #expect(autoPorts.ignore == Set([PortNumber(5353), PortNumber(5400)].compactMap { $0 }))
        #expect(autoPorts.rules.count == 2)
        let rule = try #require(autoPorts.rules.first)
        #expect(rule.match.ports == [PortRange(text: "5173-5180")])
        #expect(rule.match.process?.text == "node")
        #expect(rule.match.command?.text == "/vite|webpack/")
        #expect(rule.match.container?.text == "3f2a*")
        #expect(rule.match.scope == .loopback)
        #expect(rule.action == .forward)
        #expect(rule.label == "web")
        #expect(rule.firstHostPort == PortNumber(15173))
        #expect(rule.onConflict == .next)
        #expect(rule.opensPage == .always)
        #expect(rule.scheme == .https)
        #expect(rule.settings.hold == .seconds(2))
        #expect(rule.settings.proxyProtocol)
        let ignored = autoPorts.rules[1]
        #expect(ignored.match.ports == [PortRange(text: "5432"), PortRange(text: "5500-5510")])
        #expect(ignored.action == .ignore)
        #expect(config.provision.system == "apt-get update\nhost = \"not a key\"\n")
        #expect(config.provision.boot == "true")
        #expect(config.provision.onFailure == .stop)
        #expect(config.firmware == .efi)
        #expect(
            config.mounts == [
                .init(host: "/srv/app", guest: "/work"),
                .init(host: "/srv/data", guest: "/home/me/shared files", isReadOnly: true),
            ])
        #expect(config.ssh.user == "me")
        #expect(config.ssh.authorizedKeys == ["ssh-ed25519 AAAA me@here"])
        #expect(config.advanced.libvirtURI == "qemu:///session")
        #expect(config.advanced.domainType == .kvm)
        #expect(config.advanced.channel == .vsock)
    }

    @Test("What is left out has the documented default")
    func defaults() throws {
        let config = try MachineConfig.parse(smallSample, file: "/srv/app/rum.toml")
        #expect(config.name == "app")
        #expect(config.image?.base == .path("/srv/app/disk.img"))
        #expect(config.boot == nil)
        #expect(config.firmware == .auto)
        #expect(config.mounts.isEmpty)
        #expect(config.provision.onFailure == .keepGoing)
        #expect(config.resources.cpus == 2)
        #expect(config.resources.memoryMB == 2048)
        #expect("\(config.resources.disk)" == "20G")
        #expect(config.ports.isEmpty)
        #expect(config.autoPorts == nil)
        #expect(config.ssh.user == "rum")
        #expect(config.advanced == MachineConfig.Advanced())
    }

    @Test("A rule that names nothing forwards every port, as without it, and knows its line")
    func emptyRule() throws {
        let text = smallSample + "\n[auto_ports]\nrange = \"1-2\"\n[[auto_ports.rule]]\n"
        let rule = try #require(try MachineConfig.parse(text, file: "/a/rum.toml").autoPorts?.rules.first)
        var expected = PortRule()
        expected.line = 5
        #expect(rule == expected)
        #expect(rule.match == PortMatch())
    }

    @Test("A page is opened once unless it is said otherwise")
    func opening() throws {
        let text =
            smallSample
            + "\n[auto_ports]\nrange = \"1-2\"\n[[auto_ports.rule]]\non_open = \"xdg-open {url}\""
        #expect(try MachineConfig.parse(text, file: "/a/rum.toml").autoPorts?.rules.first?.opensPage == .once)
    }

    @Test("An initrd can be the whole system, so then no image is needed")
    func initrdOnly() throws {
        let config = try MachineConfig.parse(
            "boot = { kernel = \"/k\", initrd = \"/i\" }", file: "/srv/app/rum.toml")
        #expect(config.image == nil)
        #expect(config.boot?.kernel == "/k")
    }

    @Test(
        "The name comes from the file, else from its folder",
        arguments: [
            ("/srv/app/dev.rum.toml", "dev"), ("/srv/app/rum.toml", "app"),
            ("/srv/app/.rum.toml", "app"), ("/srv/other/../app/rum.toml", "app"),
            ("/srv/app/v1.2.rum.toml", "v1.2"),
        ])
    func name(file: String, expected: String) throws {
        #expect(try MachineConfig.parse(smallSample, file: file).name == expected)
    }

    @Test(
        "Paths are relative to the file, not to the current folder",
        arguments: [
            ("disk.img", "/a/b/disk.img"), ("./disk.img", "/a/b/disk.img"),
            ("../disk.img", "/a/b/../disk.img"),
            ("/disk.img", "/disk.img"), ("file:///disk.img", "/disk.img"),
        ])
    func paths(text: String, expected: String) throws {
        let config = try MachineConfig.parse("image.base = \"\(text)\"", file: "/a/b/rum.toml")
        #expect(config.image?.base == .path(expected))
    }

    @Test("The firmware can be chosen for an image that boots by itself")
    func firmware() throws {
        let config = try MachineConfig.parse(
            smallSample + "\n[boot]\nfirmware = \"efi\"", file: "/a/rum.toml")
        #expect(config.boot == nil)
        #expect(config.firmware == .efi)
    }

    @Test(
        "A word without / and suffix is the name of an image",
        arguments: ["debian-12", "ubuntu-24.04", "arch"])
    func imageName(name: String) throws {
        let config = try MachineConfig.parse("image.base = \"\(name)\"", file: "/a/b/rum.toml")
        #expect(config.image?.base == .named(try #require(NamedImage.named(name))))
    }

    @Test("Every named image has a URL of its own, and a list of checksums beside it")
    func imageTable() {
        #expect(Set(NamedImage.all.map(\.name)).count == NamedImage.all.count)
        #expect(Set(NamedImage.all.map(\.url)).count == NamedImage.all.count)
        for image in NamedImage.all {
            #expect(image.url.hasPrefix("https://") && image.sums.hasPrefix("https://"))
            let folder = image.url.split(separator: "/").dropLast()
            #expect(image.sums.split(separator: "/").dropLast() == folder, "\(image.name)")
        }
    }

    @Test("One host port may be bound on two different addresses")
    func twoAddresses() throws {
        let text =
            smallSample + """

                [[ports]]
                host = 8080
                guest = 80
                bind = "127.0.0.1"
                [[ports]]
                host = 8080
                guest = 81
                bind = "::1"
                """
        #expect(try MachineConfig.parse(text, file: "/a/b/rum.toml").ports.count == 2)
    }
}
